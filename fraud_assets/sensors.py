"""A sensor on ``fraud_feedback``: many new labels are a reason to train before the next morning."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

import dagster as dg

from fraud_assets.assets.training.training_set import last_training
from fraud_assets.lake.offset_log import Offsets, TopicRange
from fraud_assets.partitions import AS_OF_TAG
from fraud_assets.resources import KafkaResource
from fraud_core.labels.known import decode_feedback
from fraud_core.settings import Settings
from fraud_core.timestamps import HOUR_MS, format_rfc3339_ms, now_ms
from fraud_io.kafka.reader import Record
from fraud_io.schema_registry.messages import opener

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

LEAST_HOURS_BETWEEN_TRAININGS = 6
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def feedback_sensor(job: "UnresolvedAssetJobDefinition") -> dg.SensorDefinition:
    @dg.sensor(
        job=job, minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING, name="feedback_sensor"
    )
    def sensor(
        context: dg.SensorEvaluationContext, kafka: KafkaResource, settings: dg.ResourceParam[Settings]
    ) -> dg.SensorResult | dg.SkipReason:
        """Trains with what is known now once there are FRAUD_RETRAIN_LABELS labels that no training has seen.

            It leaves the first model to the schedule or a person, and asks for nothing within six hours of any
        training. "Now" is the time of the newest label: a replayed or simulated stream has a clock of its own. Looks at
        the topic only: it joins no consumer group and commits nothing.
        """
        trained = last_training(context.instance)
        if trained is None:
            return dg.SkipReason(f"no run of {job.name} has trained yet: this sensor does not start the first one")
        _, end = kafka.offsets(settings.topics.feedback)
        asked: Offsets = {int(partition): offset for partition, offset in json.loads(context.cursor or "{}").items()}
        new = sum(max(0, end[p] - max(trained.labels.get(p, 0), asked.get(p, 0))) for p in end)
        if new < settings.retrain_labels:
            return dg.SkipReason(f"{new} of {settings.retrain_labels} new labels")
        if context.instance.get_run_records(dg.RunsFilter(job_name=job.name, statuses=_UNFINISHED), limit=1):
            return dg.SkipReason(f"{new} new labels, but a run of {job.name} is under way")
        # Offsets are not records when labels are sent in transactions: each leaves a marker, or nothing but gaps.
        unseen = TopicRange({p: min(end[p], max(trained.labels.get(p, 0), asked.get(p, 0))) for p in end}, end)
        labels = list(kafka.messages(settings.topics.feedback, unseen))
        if (new := len(labels)) < settings.retrain_labels:
            return dg.SkipReason(f"{new} of {settings.retrain_labels} new labels")
        as_of_ms = _newest_label_ms(labels, settings)
        if as_of_ms < trained.as_of_ms + LEAST_HOURS_BETWEEN_TRAININGS * HOUR_MS:
            return dg.SkipReason(f"{new} new labels, but trained within {LEAST_HOURS_BETWEEN_TRAININGS} hours")
        as_of = datetime.fromtimestamp(as_of_ms / 1000, UTC)
        partition = (as_of - timedelta(days=1)).date().isoformat()
        if partition < settings.partitions_start:
            return dg.SkipReason("no day is complete yet")
        cursor = json.dumps({str(p): end[p] for p in sorted(end)})
        # The cursor moves together with a run whose key is made from it: the same tick again asks for the same run.
        request = dg.RunRequest(run_key(cursor), partition_key=partition, tags={AS_OF_TAG: format_rfc3339_ms(as_of_ms)})
        return dg.SensorResult(run_requests=[request], cursor=cursor)

    return sensor


def run_key(cursor: str) -> str:
    return f"feedback-{hashlib.sha256(cursor.encode()).hexdigest()[:16]}"


def _newest_label_ms(messages: Sequence[Record], settings: Settings) -> int:
    """The newest label time of these messages, at most the present; the present when they cannot be read."""
    values, partitions = [m.value() for m in messages], [m.partition() for m in messages]
    labels, _ = decode_feedback(values, partitions, [0] * len(messages), settings.reading_rules.zone, opener(settings))
    return min(cast("int | None", labels["label_time_ms"].max()) or now_ms(), now_ms())
