"""What decisions are probably worth, said the moment they are made: no label is needed.

Confidence-based performance estimation. A calibrated score is the probability that the transaction is fraud, so of what
was flagged the sum of the scores is the frauds caught, and of the rest the frauds missed.

It assumes that the calibration still holds. A new kind of fraud that the model scores low is invisible to it; once
labels have come, the difference to what was measured shows by how much it was wrong (``live_quality``).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Expected:
    """Expected figures; None where they are not defined: nothing flagged, or no fraud expected."""

    frauds: float
    precision: float | None
    recall: float | None
    f2: float | None
    average_precision: float | None


def expected_quality(scores: np.ndarray, is_flagged: np.ndarray) -> Expected:
    """scores : (n,) float64 in [0, 1], calibrated. is_flagged : (n,) bool.

    Ratios of expected counts, which for more than a few frauds are the expected ratios.
    """
    frauds, flagged = float(scores.sum()), int(is_flagged.sum())
    caught = float(scores[is_flagged].sum())
    return Expected(
        frauds=frauds,
        precision=caught / flagged if flagged else None,
        recall=caught / frauds if frauds else None,
        f2=5 * caught / (4 * frauds + flagged) if frauds or flagged else None,
        average_precision=_average_precision(scores) if frauds else None,
    )


def _average_precision(scores: np.ndarray) -> float:
    """If the k-th from above is fraud, one and the sum of the scores above it are the frauds among the first k."""
    falling = np.sort(scores)[::-1]
    above = np.cumsum(falling) - falling
    return float(falling @ ((1 + above) / np.arange(1, len(falling) + 1)) / falling.sum())
