"""Simulated days as the lake holds them: transactions arrived when they happened, labels when they became known."""

from collections.abc import Sequence

import polars as pl

from fraud_core.labels.known import LABEL_COLUMNS
from fraud_core.payments.transaction import COLUMNS
from fraud_core.simulation.simulator import SimulatedDay

_ARRIVAL = {"partition": pl.lit(0), "offset": pl.int_range(pl.len())}


def arrived(days: Sequence[SimulatedDay]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """transaction.COLUMNS and labels.LABEL_COLUMNS of ``days``, each in one partition and in order of arrival."""
    transactions = pl.concat(day.transactions for day in days).with_columns(**_ARRIVAL, ingest_time_ms="event_time_ms")
    labels = pl.concat(day.labels for day in days).sort("label_time_ms", "transaction_id").with_columns(**_ARRIVAL)
    return tuple(
        rows.select(pl.col(name).cast(kind) for name, kind in columns.items())
        for rows, columns in ((transactions, COLUMNS), (labels, LABEL_COLUMNS))
    )
