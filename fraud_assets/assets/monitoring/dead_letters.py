"""Asset ``dead_letters``: which records the stream refused, as Parquet."""

import dagster as dg

from fraud_assets.lake.offset_log import OffsetLog
from fraud_assets.resources import KafkaResource
from fraud_core.payments.dead_letter import DEAD_LETTER_COLUMNS, decode_dead_letters
from fraud_core.settings import Settings
from fraud_io.folders import Lake


@dg.asset(group_name="monitoring", kinds={"kafka", "parquet"}, owners=["team:fraud-ml"], io_manager_key="ingested")
def dead_letters(settings: dg.ResourceParam[Settings], kafka: KafkaResource) -> dg.MaterializeResult:
    """One row per message of the topic `transactions_dead_letter`: where the record was, when it came, what was wrong.

    The record itself stays in Kafka. One that was refused twice, because its micro-batch ran twice, is there twice.
    """
    log = OffsetLog(Lake(settings.lake).dead_letters)
    new = log.pending(*kafka.offsets(settings.topics.dead_letter))
    if len(new):
        with log.append(new) as folder:
            values = [message.value() or b"" for message in kafka.messages(settings.topics.dead_letter, new)]
            decode_dead_letters(values).write_parquet(folder / "dead_letters.parquet")
    known = log.scan(DEAD_LETTER_COLUMNS).unique(["partition", "offset"]).collect()
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": known.height,
            "new_rows": len(new),
            "new_offsets": str(new),
            "rows_by_kind": dict(known.group_by("kind").len().sort("kind").iter_rows()),
            "path": dg.MetadataValue.path(Lake(settings.lake).dead_letters),
        }
    )
