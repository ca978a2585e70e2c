"""Asset ``labels``: what became known about transactions, as Parquet, and which labels are held in quarantine."""

import dagster as dg
import polars as pl

from fraud_assets.checks import non_blocking, result
from fraud_assets.lake.offset_log import OffsetLog
from fraud_assets.resources import KafkaResource
from fraud_core.labels.feedback_rules import apply_rules, counts
from fraud_core.labels.known import LABEL_COLUMNS, decode_feedback
from fraud_core.labels.quarantine import suspicious
from fraud_core.payments.refusal import Refusal
from fraud_core.payments.transaction import COLUMNS
from fraud_core.settings import Settings
from fraud_io.folders import Lake
from fraud_io.quarantine_log import QuarantineLog
from fraud_io.schema_registry.messages import opener

SOURCES_SHOWN = 10


@dg.asset(
    group_name="ingestion",
    kinds={"kafka", "parquet"},
    owners=["team:fraud-ml"],
    io_manager_key="ingested",
    # Transactions first: a label read before its transaction would find nothing to label.
    deps=["transactions"],
    check_specs=non_blocking(
        "labels",
        nothing_is_quarantined="No source sent a flood of false labels. Nothing uses labels that are held, and "
        "they block promotion.",
    ),
)
def labels(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], kafka: KafkaResource):
    """One row per accepted message of the topic `fraud_feedback`, everything that arrived until the run.

    A transaction can have several; which one counts as of a day is decided by their `label_time`. Readers do not get
    those in quarantine.
    """
    log = OffsetLog(Lake(settings.lake).labels)
    new = log.pending(*kafka.offsets(settings.topics.feedback))
    rows = pl.DataFrame(schema=LABEL_COLUMNS)
    refusals: list[Refusal] = []
    if len(new):
        with log.append(new) as folder:
            messages = list(kafka.messages(settings.topics.feedback, new))
            rows, refusals = decode_feedback(
                [message.value() for message in messages],
                [message.partition() for message in messages],
                [message.offset() for message in messages],
                settings.reading_rules.zone,
                opener(settings),
            )
            rows.write_parquet(folder / "labels.parquet")
    else:
        context.log.info("no new labels since the last run")
    known = log.scan(LABEL_COLUMNS).collect()
    judged, quarantine = judge(known, settings, f"dagster run {context.run.run_id}")
    held = quarantine.held()
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": known.height,
            "new_rows": rows.height,
            "new_refused": len(refusals),
            "first_refusal": refusals[0].reason if refusals else "none",
            "new_offsets": str(new),
            "frauds": known.filter("is_fraud")["transaction_id"].n_unique(),
            "rows_by_source": rows_by_source(known),
            **{f"rows_{rule}": count for rule, count in counts(judged).items()},
            "rows_quarantined": sum(batch.labels for batch in held),
            "path": dg.MetadataValue.path(Lake(settings.lake).labels),
        },
        check_results=[
            result("nothing_is_quarantined", not held, **{batch.name: batch.reason for batch in held}),
        ],
    )


def rows_by_source(known: pl.DataFrame) -> dict[str, int]:
    """Of the sources with most labels, and of the others together: any text is a source, and a metric's label."""
    counts = known["source"].value_counts(sort=True, name="rows")
    most = dict(counts.head(SOURCES_SHOWN).sort("source").iter_rows())
    others = int(counts.slice(SOURCES_SHOWN)["rows"].sum())
    return most | ({"other": others} if others else {})


def judge(known: pl.DataFrame, settings: Settings, who: str) -> tuple[pl.DataFrame, QuarantineLog]:
    """Each label with the rules that apply to it, and the quarantine with what now looks like a flood added."""
    arrived = OffsetLog(Lake(settings.lake).transactions).scan(COLUMNS).select("transaction_id", "event_time_ms")
    quarantine = QuarantineLog(settings.lake)
    # The clock of the data: a simulated or replayed stream may lie behind the present.
    known_ms = arrived.select(pl.col("event_time_ms").max()).collect().item() or 0
    quarantine.hold(suspicious(known, known_ms, quarantine.released()), who)
    return apply_rules(known, arrived, known_ms, settings.label_delay_days), quarantine
