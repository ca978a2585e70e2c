"""Precision, recall, F2 and average precision of decisions, each with a bootstrap interval over cards."""

import numpy as np
import polars as pl

from fraud_core.evaluation.decision_quality import Estimate, decision_quality
from fraud_core.evaluation.ranking import Ranking, average_precision, card_resamples

METRICS = ("precision", "recall", "f2", "average_precision")


def card_intervals(
    rows: pl.DataFrame, scores: np.ndarray, is_flagged: np.ndarray, *, resamples: int = 200, seed: int = 7
) -> dict[str, Estimate]:
    """METRICS over bootstrap resamples of cards; empty for rows of one class, on which nothing can be measured.

    rows : user_id, is_fraud Boolean without nulls, value_minor. scores : (n,) float64. is_flagged : (n,) bool.
    Precision is left out when nothing is flagged.
    """
    is_fraud = rows["is_fraud"].to_numpy()
    if not 0 < is_fraud.sum() < len(is_fraud):
        return {}
    decided = decision_quality(rows, is_flagged, resamples=resamples, seed=seed)
    ranking = Ranking.of(is_fraud, scores)
    drawn = [
        average_precision(*ranking.counts(weights))
        for weights in card_resamples(rows["user_id"], is_fraud, resamples, seed)
    ]
    low, high = (float(bound) for bound in np.quantile(drawn, (0.05, 0.95)))
    figures = {
        **{name: getattr(decided, name) for name in ("precision", "recall", "f2")},
        "average_precision": Estimate(average_precision(*ranking.counts()), low, high),
    }
    return {name: figure for name, figure in figures.items() if not np.isnan(figure.value)}
