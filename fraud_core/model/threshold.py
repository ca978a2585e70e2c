"""The decision threshold: the score at or above which a transaction is flagged.

Where F-beta is highest on validation is known badly when validation has few frauds, and they come in sprees: it may lie
anywhere in a wide interval. For scores that are probabilities it is known where it must lie: to flag one more
transaction raises F-beta exactly when its probability is more than F-beta / (1 + beta²). So the threshold is at a fifth
of the highest F2, as long as the interval allows it.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from fraud_core.evaluation.ranking import Ranking, card_resamples, f_beta


@dataclass(frozen=True)
class Threshold:
    """A threshold and what it reaches on the rows it was chosen on (validation, never test).

    interval : 5 to 95 % of where F-beta is highest on resampled cards.
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
    """Max F-beta / (1 + beta²), where calibrated scores have their highest F-beta, kept within what the rows allow.

    is_fraud (n,) bool, scores (n,) float64 calibrated, user_ids (n,) Utf8. beta 2 weighs a missed fraud as four false
    alerts. ``interval`` is the 5 to 95 % range of the score with the highest F-beta (of equals, the one that flags
    least) over bootstrap resamples of cards: it is wide by nature, because F-beta is flat around its maximum. A
    transaction is flagged when ``score >= threshold``. ValueError when the rows are of one class or a score is not
    finite.
    """
    ranking = Ranking.of(is_fraud, scores)
    caught, flagged = ranking.counts()
    f_values = f_beta(caught, flagged, beta)
    resampled = [
        ranking.thresholds[np.argmax(f_beta(*ranking.counts(weights), beta))]
        for weights in card_resamples(user_ids, is_fraud, resamples, seed)
    ]
    low, high = np.quantile(resampled, (0.05, 0.95))
    value = np.clip(f_values.max() / (1 + beta**2), low, high)
    last = np.flatnonzero(ranking.thresholds >= value)[-1]
    return Threshold(
        value=float(value),
        f_beta=float(f_values[last]),
        precision=float(caught[last] / flagged[last]),
        recall=float(caught[last] / caught[-1]),
        interval=(float(low), float(high)),
    )
