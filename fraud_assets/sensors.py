"""A sensor on ``fraud_feedback``: many new labels are a reason to train before the next morning."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from fraud_assets.offset_log import OffsetLog, Offsets
from fraud_assets.resources import KafkaResource
from fraud_core.settings import Settings
from fraud_core.topics import FEEDBACK

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

ENOUGH_LABELS = 1000
LEAST_HOURS_BETWEEN_RUNS = 6


def feedback_sensor(job: "UnresolvedAssetJobDefinition") -> dg.SensorDefinition:
    @dg.sensor(
        job=job, minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.RUNNING, name="feedback_sensor"
    )
    def sensor(
        context: dg.SensorEvaluationContext, kafka: KafkaResource, settings: dg.ResourceParam[Settings]
    ) -> dg.SensorResult | dg.SkipReason:
        """Trains the latest complete day again once 1,000 labels came that no run has read.

        The first model is left to the schedule or to a person, and within six hours of a run of the job, by whomever,
        no other is asked for. Looks at the topic's offsets only: it joins no consumer group and commits nothing.
        """
        read = OffsetLog(settings.lake / "labels").position()
        if not read:
            return dg.SkipReason(
                f"no run of {job.name} has read labels yet: the first one is not this sensor's to start"
            )
        _, end = kafka.offsets(FEEDBACK.name)
        asked: Offsets = {int(partition): offset for partition, offset in json.loads(context.cursor or "{}").items()}
        new = sum(max(0, end[p] - max(read.get(p, 0), asked.get(p, 0))) for p in end)
        if new < ENOUGH_LABELS:
            return dg.SkipReason(f"{new} of {ENOUGH_LABELS} new labels")
        since = datetime.now(UTC) - timedelta(hours=LEAST_HOURS_BETWEEN_RUNS)
        if context.instance.get_run_records(dg.RunsFilter(job_name=job.name, created_after=since), limit=1):
            return dg.SkipReason(f"{new} new labels, but {job.name} ran within {LEAST_HOURS_BETWEEN_RUNS} hours")
        partition = job.partitions_def.get_last_partition_key()
        if partition is None:
            return dg.SkipReason("no day is complete yet")
        cursor = json.dumps({str(p): end[p] for p in sorted(end)})
        # The cursor moves together with a run whose key is made from it: the same tick again asks for the same run.
        return dg.SensorResult(
            run_requests=[dg.RunRequest(run_key=run_key(cursor), partition_key=partition)], cursor=cursor
        )

    return sensor


def run_key(cursor: str) -> str:
    return f"feedback-{hashlib.sha256(cursor.encode()).hexdigest()[:16]}"
