"""Rows ranked by score: the one place that counts what a threshold catches, and that resamples by card.

Exact: rows with equal scores are flagged together or not at all, because the decision rule is ``score >= threshold``.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl


@dataclass(frozen=True)
class Ranking:
    """Rows from the highest score down, with one cut after each distinct score.

    thresholds : (m,) float64, the distinct scores, falling.
    """

    thresholds: np.ndarray
    _order: np.ndarray
    _last: np.ndarray
    _is_fraud: np.ndarray

    @classmethod
    def of(cls, is_fraud: np.ndarray, scores: np.ndarray) -> "Ranking":
        """is_fraud : (n,) bool. scores : (n,) float64. ValueError unless finite and of both classes."""
        is_fraud, scores = np.asarray(is_fraud, dtype=bool), np.asarray(scores, dtype=np.float64)
        if is_fraud.shape != scores.shape:
            raise ValueError(f"{len(is_fraud)} labels for {len(scores)} scores")
        require_both_classes(is_fraud)
        if not np.isfinite(scores).all():
            raise ValueError(f"{np.count_nonzero(~np.isfinite(scores))} of {len(scores)} scores are not finite")
        order = np.argsort(-scores, kind="stable")
        falling = scores[order]
        last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
        return cls(falling[last], order, last, is_fraud[order])

    def counts(self, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Frauds flagged and transactions flagged at each threshold, (m,) each; weights : (n,) times a row counts."""
        if weights is None:
            return np.cumsum(self._is_fraud)[self._last], self._last + 1
        ranked = weights[self._order]
        return np.cumsum(ranked * self._is_fraud)[self._last], np.cumsum(ranked)[self._last]


def require_both_classes(is_fraud: np.ndarray) -> None:
    frauds = np.count_nonzero(is_fraud)
    if not 0 < frauds < len(is_fraud):
        raise ValueError(
            f"{len(is_fraud):,} transactions, {frauds:,} of them fraud: nothing can be measured without both classes"
        )


def f_beta(caught: np.ndarray, flagged: np.ndarray, beta: float) -> np.ndarray:
    """(1 + b²) caught / (b² frauds + flagged) at each threshold; the last threshold flags everything."""
    f: np.ndarray = (1 + beta**2) * caught / (beta**2 * caught[-1] + flagged)
    return f


def average_precision(caught: np.ndarray, flagged: np.ndarray) -> float:
    """Sum over thresholds of (gain in recall) x precision, as scikit-learn defines it."""
    precision = np.divide(caught, flagged, out=np.zeros(len(caught)), where=flagged > 0)
    return float(np.diff(caught, prepend=0) @ precision / caught[-1])


def card_resamples(user_ids: pl.Series, is_fraud: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Bootstrap weights, (n,) int64 each: cards drawn with replacement, each with all its rows.

    Cards and not rows, because the frauds of one card come in sprees: drawing rows would understate the spread.
    A draw without any fraud is repeated, because nothing can be measured on it.
    """
    card = user_ids.rank("dense").to_numpy() - 1
    cards = int(card.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = 0
    while drawn < resamples:
        weights = np.bincount(rng.integers(cards, size=cards), minlength=cards)[card]
        if weights[is_fraud].any():
            drawn += 1
            yield weights
