"""Whether the job may go on from its checkpoint. Refused with a sentence when going on would skip records, decide some
of them again, or decide a replayed micro-batch differently; nothing is changed then.
"""

import json
import logging
import shutil
from collections.abc import Iterable

from confluent_kafka import KafkaException, TopicCollection

# mypy takes what its documentation imports from there for private.
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from fraud_core.settings import Settings
from fraud_io.errors import OperatorError
from fraud_io.files import write_durably
from fraud_io.kafka.admin import make_admin
from fraud_io.kafka.reader import TopicReader
from streaming.job.batch_plan import PLANS
from streaming.state.checkpoint import Checkpoint

log = logging.getLogger(__name__)

# One more whenever a micro-batch, replayed by the new code, would not write the bytes the old code wrote: another plan,
# prediction or dead letter, another rule for what is refused, another feature. 1 had no number.
FORMAT = 6

_FILE = "stream.json"
_TIMEOUT_S = 15.0
_TIME_TYPE = "message.timestamp.type"
_NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"  # what brokers say that are too old to name topics
_ANEW = (
    "To score the topic as it is now from its beginning, set FRAUD_START_FROM=earliest, remove the checkpoint folder "
    "and empty the online store (FLUSHDB)"
)


def check_format(checkpoint: Checkpoint) -> None:
    """Take over a checkpoint of an older format when no micro-batch of it is open; call it before reading its plans."""
    state = _state(checkpoint)
    found = state.get("format", 1 if (checkpoint.folder / "metadata").exists() else FORMAT)
    if found > FORMAT:
        raise OperatorError(
            f"the checkpoint {checkpoint.folder} has format {found}, this version writes {FORMAT}: start "
            "the newer version that wrote it"
        )
    if found < FORMAT and checkpoint.replayed_batch() is not None:
        raise OperatorError(
            f"the checkpoint {checkpoint.folder} has format {found}, this version writes {FORMAT}, and a "
            "micro-batch of it is open: start the version that wrote it once more, stop it with ./run down, then start "
            "this one"
        )
    if found < FORMAT:
        shutil.rmtree(checkpoint.folder / PLANS, ignore_errors=True)
        log.info("the checkpoint is taken over from format %d to %d", found, FORMAT)
    if state.get("format") != FORMAT:
        _write(checkpoint, state | {"format": FORMAT})


def check_topic(checkpoint: Checkpoint, settings: Settings) -> None:
    """Compare the checkpoint with the topic: the same one, all its partitions, and no record gone before it was scored.

    Raises OperatorError, or KafkaUnavailableError or KafkaException when Kafka fails.
    """
    topic = checkpoint.topic
    admin = make_admin(settings, log=log)
    described = admin.describe_topics(TopicCollection([topic]), request_timeout=_TIMEOUT_S)
    topic_id = str(described[topic].result(_TIMEOUT_S).topic_id)
    state = _state(checkpoint)
    known_id = state.get("topic_id")
    if known_id not in (None, topic_id):
        raise OperatorError(
            f"the topic {topic} was made anew since the checkpoint was written (it is {topic_id}, it was {known_id}): "
            f"the offsets of the checkpoint mean other records now. {_ANEW}"
        )
    begins, ends = checkpoint.begins(), checkpoint.planned_offsets()
    bounds = TopicReader(settings, _TIMEOUT_S).bounds(topic)
    for partition, begin in begins.items():
        if partition not in bounds:
            raise OperatorError(
                f"the topic {topic} has no partition {partition}, of which the checkpoint has scored {begin} "
                f"records: it was made anew with fewer. {_ANEW}"
            )
        _check_offsets(topic, partition, begin, max(begin, ends.get(partition, begin)), *bounds[partition])
    if known_id is None and topic_id != _NO_ID:
        _write(checkpoint, state | {"topic_id": topic_id})
    _check_arrival_times(admin, topic)


def _check_arrival_times(admin: AdminClient, topic: str) -> None:
    """Warn when a record's time is what its producer says."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    try:
        entry = admin.describe_configs([resource], request_timeout=_TIMEOUT_S)[resource].result(_TIMEOUT_S)[_TIME_TYPE]
    except KafkaException as error:
        log.warning("who sets the time of records in %s is not known: %s", topic, error.args[0].str())
        return
    if entry.value != "LogAppendTime":
        log.warning(
            "%s of %s is %s: when a payment arrived is what its producer says. Set it to LogAppendTime "
            "(docs/operations.md, Topics)",
            *(_TIME_TYPE, topic, entry.value),
        )


def check_partitions(checkpoint: Checkpoint, mine: frozenset[int] | None) -> None:
    """A checkpoint goes on with the partitions it began with. mine : those of this job; None for all of the topic."""
    scored = checkpoint.begins().keys()
    if scored and mine is not None and scored != mine:
        raise OperatorError(
            f"the checkpoint {checkpoint.folder} is that of the partitions {_listed(scored)}, but "
            f"FRAUD_STREAM_PARTITIONS is {_listed(mine)}: give each set of partitions a FRAUD_HOME of its own"
        )


def check_currency(checkpoint: Checkpoint, currency: str) -> None:
    """Histories hold amounts in the currency that the checkpoint began with."""
    state = _state(checkpoint)
    known = state.get("currency", currency)
    if known != currency:
        raise OperatorError(
            f"the histories of the checkpoint {checkpoint.folder} are in {known}, and FRAUD_CURRENCY is {currency}: "
            f"set FRAUD_CURRENCY={known}, or begin anew in {currency}. {_ANEW}; then train a model"
        )
    if "currency" not in state:
        _write(checkpoint, state | {"currency": currency})


def _listed(partitions: Iterable[int]) -> str:
    return ",".join(map(str, sorted(partitions)))


def _check_offsets(topic: str, partition: int, begin: int, planned: int, low: int, high: int) -> None:
    """begin : where reading goes on. planned : the end of what was handed out. low, high : what the topic holds."""
    if high < planned:
        raise OperatorError(
            f"partition {partition} of {topic} ends at offset {high}, but the checkpoint has been at {planned}: the "
            f"topic was made anew, or its brokers lost records. {_ANEW}"
        )
    if low > begin:
        raise OperatorError(
            f"offsets {begin} to {low - 1} of partition {partition} of {topic} were removed by its retention before "
            "they were scored: bring them back if you can, and raise the topic's retention. "
            f"{_ANEW}; what is left is then decided again"
        )


def _state(checkpoint: Checkpoint) -> dict:
    file = checkpoint.folder / _FILE
    return json.loads(file.read_text()) if file.exists() else {}


def _write(checkpoint: Checkpoint, state: dict) -> None:
    write_durably(checkpoint.folder / _FILE, json.dumps(state) + "\n")
