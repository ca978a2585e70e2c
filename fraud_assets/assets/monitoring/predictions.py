"""Asset ``predictions``: what the stream has decided, as Parquet."""

from itertools import count, islice

import dagster as dg
import polars as pl

from fraud_assets.lake.offset_log import OffsetLog
from fraud_assets.resources import KafkaResource
from fraud_core.settings import Settings
from fraud_io.folders import Lake

_CHUNK = 50_000


@dg.asset(
    group_name="monitoring",
    kinds={"kafka", "parquet"},
    owners=["team:fraud-ml"],
    io_manager_key="ingested",
)
def predictions(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], kafka: KafkaResource
) -> dg.MaterializeResult:
    """One row per decision in the topic `fraud_predictions`, everything that was decided until the run.

    Readers get a transaction once: a micro-batch that was decided twice wrote the same bytes twice, and a payment that
    was sent again is left out. They are for judging models, never for training one.
    """
    from fraud_core.decisions.prediction_table import PREDICTION_COLUMNS, decode_predictions
    from fraud_io.schema_registry.predictions import as_json

    log = OffsetLog(Lake(settings.lake).predictions)
    new = log.pending(*kafka.offsets(settings.topics.predictions))
    if len(new):
        with log.append(new) as folder:
            read = as_json(settings)
            values = (read(message.value()) for message in kafka.messages(settings.topics.predictions, new))
            for number in count():
                chunk = list(islice(values, _CHUNK))
                if not chunk:
                    break
                decode_predictions(chunk).write_parquet(folder / f"{number:06}.parquet")
                context.log.info(f"{number * _CHUNK + len(chunk)} of {len(new)} new predictions")
    else:
        context.log.info("no new predictions since the last run")
    known = log.scan(PREDICTION_COLUMNS)
    counts = known.select(rows=pl.len(), flagged=pl.col("prediction").sum(), reviewed=pl.col("review_sample").sum())
    counted = counts.collect().row(0, named=True)
    by_model = known.group_by("model_version").len().sort("model_version", nulls_last=True).collect()
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": counted["rows"],
            "new_rows": len(new),
            "new_offsets": str(new),
            "flagged": counted["flagged"],
            "in_review_sample": counted["reviewed"],
            "rows_by_model_version": {version or "none": rows for version, rows in by_model.iter_rows()},
            "path": dg.MetadataValue.path(Lake(settings.lake).predictions),
        }
    )
