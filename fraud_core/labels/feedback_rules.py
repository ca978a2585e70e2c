"""What becomes of a label that does not simply come once, in time and after its transaction; see docs/operations.md.

No label is thrown away: a rule determines from when on it counts and against what. Which verdict is the one in force
follows from ``known.label_transactions``; here the labels that each rule applies to are marked and counted.
"""

import polars as pl

from fraud_core.timestamps import DAY_MS

RULES = ("unknown", "before_event", "future", "late", "repeated", "contradictory")


def apply_rules(labels: pl.DataFrame, transactions: pl.LazyFrame, known_ms: int, label_delay_days: int) -> pl.DataFrame:
    """``labels`` with a Boolean column for each of RULES; several may hold for one label.

    labels : labels.LABEL_COLUMNS. transactions : transaction_id, event_time_ms of everything that arrived.
    known_ms : the present, on the clock of the data.

    unknown : its transaction has not arrived (yet). It counts once the transaction is there.
    before_event : dated before its transaction. It counts, and any other label of the transaction overrides it.
    future : dated after the present. It does not count before its time.
    late : dated after the label delay, in which silence was taken for genuine. It counts from its time on.
    repeated : the same verdict as the label before it, in order of label time. It changes nothing.
    contradictory : the opposite verdict of the label before it. The last one counts, from its time on.
    """
    of_transaction = (
        transactions.join(labels.lazy().select("transaction_id").unique(), on="transaction_id", how="semi")
        .group_by("transaction_id")
        .agg(event_ms=pl.col("event_time_ms").min())
    )
    event_ms, label_ms = pl.col("event_ms"), pl.col("label_time_ms")
    before = pl.col("is_fraud").shift().over("transaction_id")
    rules = {
        "unknown": event_ms.is_null(),
        "before_event": label_ms < event_ms,
        "future": label_ms > known_ms,
        "late": label_ms > event_ms + label_delay_days * DAY_MS,
        "repeated": pl.col("is_fraud") == before,
        "contradictory": pl.col("is_fraud") != before,
    }
    return (
        labels.lazy()
        .sort("label_time_ms", "partition", "offset")
        .join(of_transaction, on="transaction_id", how="left", maintain_order="left")
        .with_columns(**{name: rules[name].fill_null(False) for name in RULES})
        .drop("event_ms")
        .collect()
    )


def counts(judged: pl.DataFrame) -> dict[str, int]:
    """How many labels each rule holds for."""
    return judged.select(pl.col(name).sum() for name in RULES).row(0, named=True)
