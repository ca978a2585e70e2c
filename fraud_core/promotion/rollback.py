"""Whether a model that is new in Production stays there: the rule of the automatic rollback.

Two conditions must hold: the live quality of the new model lies below its predecessor's interval, and the
predecessor would have decided the same payments better. Fraud changes: a time in which every model does worse is no
reason to go back.
"""

import numpy as np
import polars as pl

from fraud_core.evaluation.decision_quality import decision_quality, paired_f2
from fraud_core.features.table import FEATURES
from fraud_core.model.roles import CHAMPION
from fraud_core.money import value_minor
from fraud_core.promotion.gates import LEAST_FRAUD_CARDS, LEAST_FRAUDS, Verdict
from fraud_core.timestamps import DAY_MS

# Of event time, from the first payment that the new model decided. Later, worse figures are due to its age.
FRESH_DAYS = 14


def decisions_of(served: pl.DataFrame, version: str, begin_ms: int, end_ms: int, currency: str) -> pl.DataFrame:
    """Rows of ``served`` (PREDICTION_COLUMNS) that ``version`` decided as the champion, by arrival.

    begin_ms, end_ms : ingest time, [begin, end). Returns transaction_id, user_id, event_time_ms, value_minor,
    is_flagged and FEATURES, in order of arrival.
    """
    is_its = (pl.col("model_version") == version) & (pl.col("arm") == CHAMPION)
    arrived = pl.col("ingest_time_ms").is_between(begin_ms, end_ms, closed="left")
    return (
        served.filter(is_its & arrived)
        .sort("ingest_time_ms", "partition", "offset")
        .select(
            "transaction_id",
            "user_id",
            "event_time_ms",
            *FEATURES,
            value_minor=value_minor(currency),
            is_flagged=pl.col("prediction") == 1,
        )
    )


def fresh_until_ms(decisions: pl.DataFrame) -> int:
    """Event time from which on a champion is no longer fresh. decisions : at least one, in order of arrival."""
    return int(decisions["event_time_ms"][0]) + FRESH_DAYS * DAY_MS


def rollback_gate(
    fresh: pl.DataFrame,
    previous: pl.DataFrame,
    previous_flags_fresh: np.ndarray | None,
    *,
    resamples: int = 500,
    seed: int = 7,
) -> Verdict:
    """ "roll back" or "wait".

    fresh, previous : decisions of the champion and of its predecessor, with mature labels: user_id, is_fraud,
    value_minor, is_flagged. previous_flags_fresh : (n,) bool, what the predecessor would have flagged of ``fresh``;
    None when it can no longer be loaded, and then there is nothing to go back to.
    """
    for name, rows in (("the champion", fresh), ("the one before it", previous)):
        frauds = rows.filter("is_fraud")
        if frauds.height < LEAST_FRAUDS or frauds["user_id"].n_unique() < LEAST_FRAUD_CARDS:
            needed = f"{LEAST_FRAUDS} of {LEAST_FRAUD_CARDS} cards are needed"
            return Verdict("wait", (f"{name} has decided {frauds.height} payments known as fraud; {needed}",))
    if previous_flags_fresh is None:
        return Verdict("wait", ("the version before the champion can no longer be loaded",))
    draws = {"resamples": resamples, "seed": seed}
    now = decision_quality(fresh, fresh["is_flagged"].to_numpy(), **draws).f2
    before = decision_quality(previous, previous["is_flagged"].to_numpy(), **draws).f2
    instead = paired_f2(fresh, previous_flags_fresh, fresh["is_flagged"].to_numpy(), **draws)
    figures = {
        "f2": now.value,
        **before.named("previous_f2"),
        **instead.gain_named("f2_gain_of_going_back"),
    }
    below = f"live F2 {now.value:.4f} of the champion, {before} of the version before it"
    better = f"on the champion's payments the version before it would have had F2 {instead}"
    if now.value < before.low and instead.low > 0:
        return Verdict("roll back", (below, better), figures)
    return Verdict("wait", (below, better), figures)
