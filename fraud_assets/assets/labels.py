"""Asset ``labels``: what became known about transactions, as Parquet."""

import dagster as dg
import polars as pl

from fraud_assets.offset_log import OffsetLog
from fraud_assets.resources import KafkaResource
from fraud_core.labels import LABEL_COLUMNS, decode_feedback
from fraud_core.settings import Settings
from fraud_core.topics import FEEDBACK


@dg.asset(
    group_name="ingestion",
    kinds={"kafka", "parquet"},
    owners=["team:fraud-ml"],
    io_manager_key="ingested",
    # Transactions first: a label read before its transaction would find nothing to label.
    deps=["transactions"],
)
def labels(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], kafka: KafkaResource
) -> dg.MaterializeResult:
    """One row per accepted message of the topic `fraud_feedback`, everything that arrived until the run.

    A transaction can have several; which one counts as of a day is decided by their `label_time`.
    """
    log = OffsetLog(settings.lake / "labels")
    new = log.pending(*kafka.offsets(FEEDBACK.name))
    rows, refusals = pl.DataFrame(schema=LABEL_COLUMNS), []
    if len(new):
        with log.append(new) as folder:
            messages = list(kafka.messages(FEEDBACK.name, new))
            rows, refusals = decode_feedback(
                [message.value() for message in messages],
                [message.partition() for message in messages],
                [message.offset() for message in messages],
            )
            rows.write_parquet(folder / "labels.parquet")
    else:
        context.log.info("no new labels since the last run")
    known = log.scan(LABEL_COLUMNS).collect()
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": known.height,
            "new_rows": rows.height,
            "new_refused": len(refusals),
            "first_refusal": refusals[0].reason if refusals else "none",
            "new_offsets": str(new),
            "frauds": known.filter("is_fraud")["transaction_id"].n_unique(),
            "rows_by_source": dict(known.group_by("source").len().sort("source").iter_rows()),
            "path": dg.MetadataValue.path(settings.lake / "labels"),
        }
    )
