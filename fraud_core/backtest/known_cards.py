"""Cards already known to be compromised: a bank blocks them, so finding more fraud on them is worth nothing."""

import polars as pl

from fraud_core.backtest.periods import Fold
from fraud_core.labels.known import label_transactions
from fraud_core.timestamps import DAY_MS


def has_known_fraud(
    test: pl.DataFrame, arrived: pl.DataFrame, labels: pl.DataFrame, fold: Fold, label_delay_days: int
) -> pl.Series:
    """Boolean for each test row: whether a fraud of its card was known on that day.

    For each test day (UTC): cards with a fraud that happened between the start of validation and a label delay before
    the day, and that was labelled by then. Where labels arrive exactly one label delay after their transactions and
    validation is a week, these are the cards that the handbook's protocol with a training week excludes, however long
    the training is.

    test, arrived (everything) : user_id, transaction_id, event_time_ms.
    """
    known_on = []
    for day_ms in range(*fold.split.test, DAY_MS):
        period = (fold.split.validation[0], day_ms - label_delay_days * DAY_MS)
        old = arrived.filter(pl.col("event_time_ms").is_between(*period, closed="left"))
        defrauded = old.filter(label_transactions(old, labels, day_ms, label_delay_days))["user_id"].unique()
        known_on.append(
            pl.DataFrame({"day_ms": day_ms, "user_id": defrauded}, schema={"day_ms": pl.Int64, "user_id": pl.String})
        )
    days = test.select("user_id", day_ms=pl.col("event_time_ms") // DAY_MS * DAY_MS).with_row_index()
    known = days.join(pl.concat(known_on), on=["day_ms", "user_id"], how="semi")["index"]
    return days["index"].is_in(known.implode())
