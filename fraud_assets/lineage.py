"""What goes into the MLflow run of a model: the data it came from, and its metrics under their MLflow names."""

import hashlib
from typing import TYPE_CHECKING, Any

import polars as pl

from fraud_assets.lake.io_managers import INGESTED
from fraud_assets.lake.offset_log import OffsetLog, Offsets, TopicRange
from fraud_core.settings import Settings
from fraud_io.exchange_rate_log import ExchangeRateLog
from fraud_io.quarantine_log import QuarantineLog

if TYPE_CHECKING:
    from fraud_core.evaluation.report import Evaluation

ORIGIN = "origin.json"


def digest(frame: pl.DataFrame) -> str:
    """16 hex digits of the columns' names, types and values, however the frame lies in memory or came from a file."""
    made = hashlib.sha256(repr(frame.schema).encode())
    for column in frame:
        made.update(column.is_null().to_numpy().tobytes())
        if column.dtype == pl.String:
            made.update("\0".join(column.fill_null("")).encode())
        else:
            made.update(column.fill_null(0 if column.dtype.is_numeric() else False).to_numpy().tobytes())
    return made.hexdigest()[:16]


def log_dataset(mlflow: Any, frame: pl.DataFrame, asset: str, partition: str, use: str) -> None:
    """Name an asset's frame as an input of the active MLflow run: which partition, its digest, schema, size and use."""
    from mlflow.data.code_dataset_source import CodeDatasetSource

    source = CodeDatasetSource({"dagster_asset": asset, "dagster_partition": partition})
    mlflow.log_input(mlflow.data.from_polars(frame, source=source, name=asset, digest=digest(frame)), context=use)


def log_origin(mlflow: Any, settings: Settings, as_of_ms: int) -> dict[str, Offsets]:
    """Log what the training set is derived from: how far each topic was read, what was in quarantine, the settings, the
    as-of time, the newest exchange rate table. Returns the first."""
    logs = {name: OffsetLog(settings.lake / name) for name in INGESTED}
    for name, log in logs.items():
        ranges = log.ranges()
        mlflow.set_tag(f"kafka_{name}", str(TopicRange(ranges[0].start, ranges[-1].end)) if ranges else "none")
    ends = {name: log.position() for name, log in logs.items()}
    origin = {"as_of_ms": as_of_ms, "settings": settings.training(), "offsets": ends}
    origin["exchange_rates"] = ExchangeRateLog(settings.lake).rates(settings.currency).newest
    mlflow.log_dict({**origin, "quarantine_lines": len(QuarantineLog(settings.lake))}, ORIGIN)
    return ends


def metrics_of(evaluation: "Evaluation", period: str) -> dict[str, float]:
    """The numbers of an evaluation under the names they have in MLflow, e.g. ``test_card_precision_100``."""
    return {f"{period}_{name}".replace("_at_", "_"): value for name, value in evaluation.metrics().items()}
