"""Simulated days as the lake holds them: transactions arrived when they happened, labels when they became known."""

from collections.abc import Mapping, Sequence

import polars as pl

from fraud_core.labels.known import LABEL_COLUMNS
from fraud_core.payments.transaction import COLUMNS
from fraud_core.simulation.simulator import SimulatedDay

_ARRIVAL = {"partition": pl.lit(0), "offset": pl.int_range(pl.len())}


def arrived(days: Sequence[SimulatedDay]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """transaction.COLUMNS and labels.LABEL_COLUMNS of ``days``, each in one partition and in order of arrival."""
    transactions = pl.concat(day.transactions for day in days).with_columns(**_ARRIVAL, ingest_time_ms="event_time_ms")
    labels = pl.concat(day.labels for day in days).sort("label_time_ms", "transaction_id").with_columns(**_ARRIVAL)
    return _as(transactions, COLUMNS), _as(labels, LABEL_COLUMNS)


def _as(rows: pl.DataFrame, columns: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
    return rows.select(pl.col(name).cast(kind) for name, kind in columns.items())
