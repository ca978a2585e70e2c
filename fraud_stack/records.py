"""Reading topics from outside any consumer group: nothing is committed, no group is rebalanced."""

from collections.abc import Iterator, Mapping
from typing import Self

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from fraud_core.settings import Settings
from fraud_io.errors import OperatorError
from fraud_io.kafka_errors import QUIET, KafkaRefusals

_TIMEOUT_S = 15.0
_MOST_AT_ONCE = 20_000


def consumer(settings: Settings, **options: object) -> Consumer:
    # librdkafka requires a group name even of a consumer that neither subscribes nor commits.
    observing = {"group.id": "fraud-observer", "enable.auto.commit": False, "logger": QUIET}
    return Consumer({**settings.confluent_kafka(), **observing, **options})


def end_offsets(settings: Settings, topic: str) -> dict[int, tuple[int, int]]:
    """First and end offset of each partition. OperatorError when the broker does not answer or lacks it."""
    refusals = KafkaRefusals(settings)
    reader = consumer(settings, error_cb=refusals.note)
    try:
        return _end_offsets(reader, topic, refusals)
    except KafkaException as error:
        reader.poll(0)
        raise OperatorError(refusals.of_call(error.args[0])) from error
    finally:
        reader.close()


def _end_offsets(reader: Consumer, topic: str, refusals: KafkaRefusals) -> dict[int, tuple[int, int]]:
    metadata = reader.list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
    if metadata.error is not None:
        raise OperatorError(refusals.of_topic(topic, metadata.error))
    offsets = {}
    for partition in metadata.partitions:
        offsets[partition] = reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=_TIMEOUT_S)
    return offsets


class Tail:
    """What comes into topics from now on. A context manager."""

    def __init__(self, settings: Settings, *topics: str) -> None:
        self._reader = consumer(settings)
        self._reader.assign(
            [TopicPartition(topic, at, OFFSET_END) for topic in topics for at in end_offsets(settings, topic)]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def take(self, timeout_s: float) -> list[Message]:
        """What comes within ``timeout_s``. Raises OperatorError when the topics cannot be read."""
        messages = self._reader.consume(_MOST_AT_ONCE, timeout_s)
        failed = next((message.error() for message in messages if message.error()), None)
        if failed is not None:
            raise OperatorError(f"predictions cannot be read: {failed.str()}")
        return messages


def read(settings: Settings, topic: str, begin: Mapping[int, int] | None = None) -> Iterator[Message]:
    """Every record of a topic to its present end; from its beginning, or from the offset ``begin`` has for a partition.

    Offsets without a record (what a transactional producer leaves behind) are skipped.
    """
    begin = begin or {}
    # The fetch after the last record reports the end of a partition: let the broker answer it at once.
    reader = consumer(settings, **{"enable.partition.eof": True, "fetch.wait.max.ms": 10})
    try:
        bounds = _end_offsets(reader, topic, KafkaRefusals(settings))
        ranges = {at: (max(start, begin.get(at, start)), end) for at, (start, end) in bounds.items()}
        remaining = {at: end for at, (start, end) in ranges.items() if end > start}
        reader.assign([TopicPartition(topic, at, ranges[at][0]) for at in remaining])
        while remaining:
            for message in reader.consume(10_000, timeout=0.2):
                end = remaining.get(message.partition())
                if message.error() is None:
                    if end is None or message.offset() >= end:
                        continue
                elif message.error().code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(message.error())
                if end is not None and message.offset() >= end - 1:
                    del remaining[message.partition()]
                if message.error() is None:
                    yield message
    finally:
        reader.close()
