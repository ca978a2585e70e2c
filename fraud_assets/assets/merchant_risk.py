"""Asset ``merchant_risk``: the daily tables that the stream looks merchants up in."""

import hashlib
from io import BytesIO
from pathlib import Path

import dagster as dg
import polars as pl

from fraud_assets.partitions import as_of_ms
from fraud_core.settings import Settings
from fraud_core.timestamps import format_rfc3339_ms


@dg.asset(group_name="features", kinds={"polars", "parquet"}, owners=["team:fraud-ml"])
def merchant_risk(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    transactions: pl.DataFrame,
    labels: pl.DataFrame,
) -> dg.MaterializeResult:
    """One row per merchant and day: fraud rate and volume over windows that end a label delay before that day.

    Published as one file a day, effective from 06:00 UTC; days that have no file yet get theirs too. A file never
    changes: transactions may already have been scored with it.
    """
    from fraud_core.training_set import risk_tables

    tables = risk_tables(transactions, labels, as_of_ms(context), settings)
    folder = settings.lake / "merchant_risk"
    published = publish(tables, folder)
    newest = tables.filter(pl.col("effective_from_ms") == pl.col("effective_from_ms").max())
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": newest.height,
            "effective_from": format_rfc3339_ms(newest["effective_from_ms"][0]) if newest.height else "no table yet",
            "mean_fraud_rate_30d": newest["merchant_fraud_rate_30d"].mean() or 0.0,
            "files_published": len(published),
            "path": dg.MetadataValue.path(folder),
        }
    )


def publish(tables: pl.DataFrame, folder: Path) -> list[Path]:
    """Write each effective time that has no file yet to ``<effective_from_ms>-<digest>.parquet``; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    has_file = {int(path.name.partition("-")[0]) for path in folder.glob("[0-9]*.parquet")}
    written = []
    for (effective_from_ms,), table in sorted(tables.partition_by("effective_from_ms", as_dict=True).items()):
        if effective_from_ms in has_file:
            continue
        content = BytesIO()
        table.sort("merchant_id").write_parquet(content)
        digest = hashlib.sha256(content.getbuffer()).hexdigest()[:12]
        path = folder / f"{effective_from_ms}-{digest}.parquet"
        new = folder / f".{path.name}"
        new.write_bytes(content.getbuffer())
        new.replace(path)
        written.append(path)
    return written
