"""The decision threshold: the score at or above which a transaction is flagged."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from fraud_core.ranking import Ranking, card_resamples, f_beta


@dataclass(frozen=True)
class Threshold:
    """A threshold and what it reaches on the rows it was chosen on (validation, never test).

    interval : 5 to 95 % of the thresholds that resampled cards would have given.
    """

    value: float
    f_beta: float
    precision: float
    recall: float
    interval: tuple[float, float]


def choose_threshold(
    is_fraud: np.ndarray,
    scores: np.ndarray,
    user_ids: pl.Series,
    *,
    beta: float = 2.0,
    resamples: int = 200,
    seed: int = 7,
) -> Threshold:
    """The score with the highest F-beta under the rule ``score >= threshold``; of equals, the one that flags least.

    is_fraud (n,) bool, scores (n,) float64, user_ids (n,) Utf8. beta 2 weighs a missed fraud as four false alerts.
    ``interval`` is the 5 to 95 % range of the threshold over bootstrap resamples of cards: it is wide by nature,
    because F-beta is flat around its maximum. ValueError when the rows are of one class or a score is not finite.
    """
    ranking = Ranking.of(is_fraud, scores)
    caught, flagged = ranking.counts()
    f_values = f_beta(caught, flagged, beta)
    best = int(np.argmax(f_values))
    resampled = [
        ranking.thresholds[np.argmax(f_beta(*ranking.counts(weights), beta))]
        for weights in card_resamples(user_ids, is_fraud, resamples, seed)
    ]
    low, high = np.quantile(resampled, (0.05, 0.95))
    return Threshold(
        value=float(ranking.thresholds[best]),
        f_beta=float(f_values[best]),
        precision=float(caught[best] / flagged[best]),
        recall=float(caught[best] / caught[-1]),
        interval=(float(low), float(high)),
    )
