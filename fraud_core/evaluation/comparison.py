"""Two models on the same rows: how much better one is than the other, and how certain that is."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from fraud_core.evaluation.ranking import Ranking, average_precision, card_resamples


@dataclass(frozen=True)
class PairedGain:
    """A figure of a model and of another model. low, high : 5 to 95 % of the gain over resampled cards."""

    value: float
    other: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, other: float, gains: np.ndarray) -> "PairedGain":
        """gains : (resamples,), of each draw of cards, which is the same for both models."""
        low, high = (float(bound) for bound in np.quantile(gains, (0.05, 0.95)))
        return cls(float(value), float(other), low, high)

    @property
    def gain(self) -> float:
        return self.value - self.other

    def gain_named(self, name: str) -> dict[str, float]:
        """The gain and its bounds, as ``name``, ``name``_low and ``name``_high."""
        return {name: self.gain, f"{name}_low": self.low, f"{name}_high": self.high}

    def __str__(self) -> str:
        """
        >>> str(PairedGain(0.5, 0.25, -0.125, 0.375))
        '0.5000 against 0.2500: gain +0.2500, 5 to 95 %: -0.1250 to +0.3750'
        """
        return (
            f"{self.value:.4f} against {self.other:.4f}: gain {self.gain:+.4f}, "
            f"5 to 95 %: {self.low:+.4f} to {self.high:+.4f}"
        )


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
    return PairedGain.of(average_precision(*ranking.counts()), average_precision(*other.counts()), np.array(gains))
