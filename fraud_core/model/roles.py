"""What a model does in the stream: aliases in the registry, values of ``arm`` in a prediction, labels of metrics."""

CHAMPION = "champion"
"""Decides."""

CHALLENGER = "challenger"
"""Is tried beside the champion, and decides about a share of cards where FRAUD_AB_SHARE says so."""
