"""Asset ``merchant_risk``: the hourly tables that the stream looks merchants up in."""

import hashlib
from io import BytesIO
from pathlib import Path
from typing import cast

import dagster as dg
import polars as pl

from fraud_assets.partitions import known_ms
from fraud_core.settings import Settings
from fraud_core.timestamps import format_rfc3339_ms
from fraud_io.files import write_durably
from fraud_io.folders import Lake


@dg.asset(group_name="features", kinds={"polars", "parquet"}, owners=["team:fraud-ml"])
def merchant_risk(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    transactions: pl.DataFrame,
    labels: pl.DataFrame,
) -> dg.MaterializeResult:
    """One row per merchant and hour: volume, fraud rate and age of fraud over windows that end a label delay before.

    Published as one file an hour, in force an hour later; missing files of the last day are written too.
    A file never changes: transactions may already have been scored with it.
    """
    from fraud_core.features.merchant_risk import MerchantHistory, newest_effective_times

    # Nothing would look up tables beyond the end of the stream.
    until_ms = known_ms(context, transactions["event_time_ms"])
    folder = Lake(settings.lake).merchant_risk
    history = MerchantHistory(transactions, labels, settings.label_delay_days)
    times = newest_effective_times(until_ms)
    published = [publish(history.table(time_ms), time_ms, folder) for time_ms in without_file(times, folder)]
    newest = history.table(times[-1])
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": newest.height,
            "effective_from": format_rfc3339_ms(times[-1]),
            "mean_fraud_rate_30d": cast("float | None", newest["merchant_fraud_rate_30d"].mean()) or 0.0,
            "files_published": len(published),
            "path": dg.MetadataValue.path(folder),
        }
    )


def without_file(effective_from_ms: list[int], folder: Path) -> list[int]:
    has_file = {int(path.name.partition("-")[0]) for path in folder.glob("[0-9]*.parquet")}
    return [time_ms for time_ms in effective_from_ms if time_ms not in has_file]


def publish(table: pl.DataFrame, effective_from_ms: int, folder: Path) -> Path:
    """Write the table of one effective time to ``<effective_from_ms>-<digest>.parquet``."""
    content = BytesIO()
    table.write_parquet(content)
    digest = hashlib.sha256(content.getbuffer()).hexdigest()[:12]
    file = folder / f"{effective_from_ms}-{digest}.parquet"
    # Nobody writes it again, and the plan of a micro-batch may name it.
    write_durably(file, content.getbuffer())
    return file
