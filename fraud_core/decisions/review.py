"""Recall that counts what nobody reported: the frauds found in the review sample stand for those not looked at.

Frauds that customers and banks report are known one by one, flagged or not. What only an analyst could find is known
where one looked: everything flagged, and of the rest a sample whose probabilities the predictions carry. Each fraud
found there counts 1 / probability times (Horvitz and Thompson).
"""

import numpy as np
import polars as pl
from scipy.special import gammaincinv

from fraud_core.evaluation.decision_quality import Estimate

_TAIL = 0.05
_LOOKED_AT = pl.col("review_sample") & pl.col("is_reviewed")


def recall_by_review(rows: pl.DataFrame) -> Estimate | None:
    """Share of all frauds that was flagged. None without frauds, or when nobody looked at a part of what was let pass.

    rows : user_id, is_flagged, is_fraud, is_reported (by others than analysts), is_reviewed (an analyst gave a
        verdict), review_sample (Booleans), review_probability.
    A row of the sample that nobody reviewed is not evidence: the others of its probability count for it. The interval
    is what the sampling leaves open; it is wide, because a small sample holds few frauds or none.
    """
    caught = rows.filter("is_flagged", "is_fraud").height
    passed = rows.filter(~pl.col("is_flagged"))
    known = passed.filter("is_fraud", "is_reported").height
    strata = passed.group_by("review_probability").agg(
        rows=pl.len(), sampled=pl.col("review_sample").sum(), looked_at=_LOOKED_AT.sum()
    )
    if strata.filter(pl.col("looked_at") == 0).height:
        return None
    weight = pl.col("sampled") / pl.col("looked_at") / pl.col("review_probability")
    strata = strata.select("review_probability", weight=weight)
    found = passed.filter(_LOOKED_AT & pl.col("is_fraud") & ~pl.col("is_reported")).join(
        strata, on="review_probability"
    )
    # A stratum looked at completely hides nothing; what was found there is simply known.
    known += found.filter(pl.col("weight") <= 1).height
    by_card = found.filter(pl.col("weight") > 1).group_by("user_id").agg(pl.col("weight").sum())["weight"].to_numpy()
    unseen = strata.filter(pl.col("weight") > 1)["weight"].max() or 0.0
    hidden, least, most = _total(by_card, float(max(unseen, by_card.max(initial=0.0))))
    # Analysts also come upon frauds outside the sample: no fewer were missed than are known, and no more than passed.
    at_least = passed.filter("is_fraud").height
    missed = (min(max(known + unknown, at_least), passed.height) for unknown in (hidden, most, least))
    return Estimate(*(caught / (caught + count) if caught else 0.0 for count in missed)) if caught + at_least else None


def _total(weights: np.ndarray, largest: float) -> tuple[float, float, float]:
    """The sum and the 5 to 95 % bounds of its expectation, of independent rare finds (the gamma method, Fay 1997).

    weights : of what was found, a card's together. largest : the weight that a further find could have; 0: none could
    be found, and the sum is exact.
    """
    total, variance = float(weights.sum()), float(weights @ weights)
    if largest == 0:
        return total, total, total
    low = variance / total * float(gammaincinv(total**2 / variance, _TAIL)) if total else 0.0
    above, spread = total + largest, variance + largest**2
    return total, low, spread / above * float(gammaincinv(above**2 / spread, 1 - _TAIL))
