"""Two models on the same rows: how much more one finds than the other, and how sure that is."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from fraud_core.ranking import Ranking, average_precision, card_resamples


@dataclass(frozen=True)
class PairedGain:
    """Average precision of a model and of another one. low, high : 5 to 95 % of the gain over resampled cards."""

    average_precision: float
    other_average_precision: float
    low: float
    high: float

    @property
    def gain(self) -> float:
        return self.average_precision - self.other_average_precision


def paired_gain(
    is_fraud: np.ndarray,
    user_ids: pl.Series,
    scores: np.ndarray,
    other_scores: np.ndarray,
    *,
    resamples: int = 500,
    seed: int = 7,
) -> PairedGain:
    """Gain in average precision of ``scores`` over ``other_scores``; all (n,), of the same rows in the same order.

    Each resample draws the same cards for both, so what makes a period easy or hard cancels out. ValueError for rows of
    one class.
    """
    ranking, other = Ranking.of(is_fraud, scores), Ranking.of(is_fraud, other_scores)
    gains = [
        average_precision(*ranking.counts(weights)) - average_precision(*other.counts(weights))
        for weights in card_resamples(user_ids, is_fraud, resamples, seed)
    ]
    low, high = (float(bound) for bound in np.quantile(gains, (0.05, 0.95)))
    return PairedGain(average_precision(*ranking.counts()), average_precision(*other.counts()), low, high)
