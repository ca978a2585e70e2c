"""Precision, recall, F2 and average precision of decisions, with how far each would move for other cards."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from fraud_core.ranking import Ranking, average_precision, card_resamples

METRICS = ("precision", "recall", "f2", "average_precision")


@dataclass(frozen=True)
class Figure:
    """A share from 0 to 1. low, high : 5 to 95 %."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """
        >>> str(Figure(0.5, 0.25, 0.75))
        '0.5000 (0.2500 to 0.7500)'
        """
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


def card_intervals(
    rows: pl.DataFrame, scores: np.ndarray, is_flagged: np.ndarray, *, resamples: int = 200, seed: int = 7
) -> dict[str, Figure]:
    """METRICS over bootstrap resamples of cards; empty for rows of one class, of which nothing can be measured.

    rows : user_id, is_fraud Boolean without nulls. scores : (n,) float64. is_flagged : (n,) bool.
    Precision is left out when nothing is flagged; resamples in which nothing is are left out of its interval.
    """
    is_fraud = rows["is_fraud"].to_numpy()
    if not 0 < is_fraud.sum() < len(is_fraud):
        return {}
    ranking = Ranking.of(is_fraud, scores)
    flagged = is_flagged.astype(np.int64)
    caught = flagged * is_fraud

    def measured(weights: np.ndarray | None) -> tuple[float, ...]:
        n_caught, n_flagged, n_frauds = (
            int(of.sum() if weights is None else weights @ of) for of in (caught, flagged, is_fraud)
        )
        precision = n_caught / n_flagged if n_flagged else np.nan
        f2 = 5 * n_caught / (4 * n_frauds + n_flagged)
        return precision, n_caught / n_frauds, f2, average_precision(*ranking.counts(weights))

    drawn = np.array([measured(weights) for weights in card_resamples(rows["user_id"], is_fraud, resamples, seed)])
    values = measured(None)
    return {
        name: Figure(values[at], *(float(bound) for bound in np.nanquantile(drawn[:, at], (0.05, 0.95))))
        for at, name in enumerate(METRICS)
        if not np.isnan(values[at])
    }
