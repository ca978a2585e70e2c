"""The rows both ways train on: the handbook's data as the ingestion assets would have written them to the lake."""

from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.handbook import CURRENCY, Handbook, handbook
from fraud_assets.lake.offset_log import OffsetLog, TopicRange
from fraud_core.labels.known import LABEL_COLUMNS
from fraud_core.money import minor_units
from fraud_core.payments.transaction import COLUMNS
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS

LABEL_DELAY_DAYS = 7
# The last day of the data; a run of this partition knows what was known when it ended.
PARTITION = "2018-09-30"
AS_OF_MS = (np.datetime64(PARTITION) + 1).astype("datetime64[ms]").astype(int).item()


def settings_in(home: Path) -> Settings:
    """The daily run's settings: defaults but for the number of candidates, and MLflow in SQLite."""
    return Settings(
        home=home,
        mlflow_url=f"sqlite:///{home}/mlflow.db",
        partitions_start=PARTITION,
        search_candidates=24,
        label_delay_days=LABEL_DELAY_DAYS,
        currency=CURRENCY,
    )


def arrivals(sizes: Handbook) -> tuple[pl.DataFrame, pl.DataFrame]:
    """transactions (transaction.COLUMNS) and labels (labels.LABEL_COLUMNS): frauds alone, 7 days after the event."""
    arrival = {"partition": pl.lit(0, pl.Int32), "offset": pl.int_range(pl.len(), dtype=pl.Int64)}
    rows = handbook(sizes).with_columns(
        event_time_ms=pl.col("timestamp").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="ms").cast(pl.Int64),
        amount_minor=(pl.col("amount") * minor_units(CURRENCY)).round().cast(pl.Int64),
        **arrival,
    )
    known = {name: pl.lit(None, kind).alias(name) for name, kind in COLUMNS.items() if name not in rows.columns}
    known["ingest_time_ms"] = pl.col("event_time_ms").alias("ingest_time_ms")
    labels = rows.select(
        "transaction_id",
        "is_fraud",
        pl.lit("chargeback").alias("source"),
        (pl.col("event_time_ms") + LABEL_DELAY_DAYS * DAY_MS).alias("label_time_ms"),
        "partition",
        "offset",
    )
    return rows.with_columns(**known).select(list(COLUMNS)), labels.filter("is_fraud").select(list(LABEL_COLUMNS))


def fill_lake(settings: Settings, transactions: pl.DataFrame, labels: pl.DataFrame) -> None:
    for name, rows in (("transactions", transactions), ("labels", labels)):
        with OffsetLog(settings.lake / name).append(TopicRange({0: 0}, {0: rows.height})) as staging:
            rows.write_parquet(staging / "rows.parquet")
