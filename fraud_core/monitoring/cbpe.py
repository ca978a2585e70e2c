"""How good decisions probably are, estimated without labels the moment they are made.

Confidence-based performance estimation. A calibrated score is the probability that the transaction is fraud, so the sum
of the scores over flagged transactions is the expected frauds caught, and over the others the expected frauds missed.

It assumes that the calibration still holds. A new kind of fraud that the model scores low is invisible to it; once
labels are mature, the difference to the measured figures shows how far it was off (``live_quality``).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Expected:
    """Expected figures; None where undefined: nothing flagged, or no fraud expected."""

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
    """If the k-th highest is fraud, the expected frauds among the first k are 1 and the sum of the scores above it."""
    falling = np.sort(scores)[::-1]
    above = np.cumsum(falling) - falling
    return float(falling @ ((1 + above) / np.arange(1, len(falling) + 1)) / falling.sum())
