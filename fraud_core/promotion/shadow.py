"""Transactions that two models scored side by side, with the scores of both: the data of the shadow comparison."""

import polars as pl

from fraud_core.labels.known import label_transactions
from fraud_core.model.roles import CHALLENGER, CHAMPION
from fraud_core.money import value_minor
from fraud_core.timestamps import DAY_MS

# Older payments say little about today, and the comparison runs every hour.
COMPARED_DAYS = 30


def served_pairs(served: pl.DataFrame, champion: str, challenger: str, currency: str) -> pl.DataFrame:
    """Of ``served`` (PREDICTION_COLUMNS) the rows that both versions scored, whichever of them decided.

    Returns transaction_id, user_id, event_time_ms, value_minor, ``arm`` (whose decision counted: by version, not
    by the role it had then), and for both: champion_score, champion_flagged, challenger_score, challenger_flagged.
    """
    decided, shadow = pl.col("model_version"), pl.col("shadow_model_version")
    is_champions = (decided == champion) & (shadow == challenger)
    is_challengers = (decided == challenger) & (shadow == champion)

    def of_version(by_decider: str, by_shadow: str, is_decider: pl.Expr) -> pl.Expr:
        return pl.when(is_decider).then(by_decider).otherwise(by_shadow)

    return served.filter(is_champions | is_challengers).select(
        "transaction_id",
        "user_id",
        "event_time_ms",
        value_minor=value_minor(currency),
        arm=pl.when(decided == champion).then(pl.lit(CHAMPION)).otherwise(pl.lit(CHALLENGER)),
        champion_score=of_version("score", "shadow_score", decided == champion),
        champion_flagged=of_version("prediction", "shadow_prediction", decided == champion) == 1,
        challenger_score=of_version("score", "shadow_score", decided == challenger),
        challenger_flagged=of_version("prediction", "shadow_prediction", decided == challenger) == 1,
    )


def matured(rows: pl.DataFrame, labels: pl.DataFrame, as_of_ms: int, label_delay_days: int) -> pl.DataFrame:
    """The ``rows`` whose labels are mature at ``as_of_ms``, of the last COMPARED_DAYS of these, with ``is_fraud``.

    Younger ones are left out even where a label is known: fraud is reported before silence counts as genuine, so early
    labels are mostly fraud.
    """
    until_ms = as_of_ms - label_delay_days * DAY_MS
    old = rows.filter(pl.col("event_time_ms").is_between(until_ms - COMPARED_DAYS * DAY_MS, until_ms))
    return old.with_columns(label_transactions(old, labels, as_of_ms, label_delay_days).alias("is_fraud"))
