"""Reads topics outside any consumer group: nobody is rebalanced, no offset is committed, nothing is written."""

from collections.abc import Iterator, Mapping
from typing import Literal, Protocol, Self, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from fraud_core.settings import Settings
from fraud_io.errors import OperatorError
from fraud_io.kafka.errors import QUIET, KafkaRefusals, KafkaUnavailableError, settings_in_words

_MOST_AT_ONCE = 20_000
_POLL_S = 0.2

Isolation = Literal["read_committed", "read_uncommitted"]
Ranges = dict[int, tuple[int, int]]
"""Offsets [start, end) by partition."""


class Record(Protocol):
    """A Message that was read: unlike one that is still to be sent, it has a place in a topic."""

    def topic(self) -> str: ...
    def partition(self) -> int: ...
    def offset(self) -> int: ...
    def timestamp(self) -> tuple[int, int]: ...
    def key(self) -> bytes | None: ...
    def value(self) -> bytes | None: ...
    def headers(self) -> list[tuple[str, bytes | None]] | None: ...
    def error(self) -> KafkaError | None: ...


def consumer(settings: Settings, refusals: KafkaRefusals, **options: object) -> Consumer:
    """A client to ``assign`` partitions to. ``options``: librdkafka's, beside the connection settings.

    It logs nothing; ``refusals`` learns why a broker lets it not in.
    """
    reading = {
        "group.id": "fraud-reader",  # librdkafka wants a name; only subscribing would join the group
        "enable.auto.commit": False,
        # What a transaction of a producer has aborted never was. The end of a partition is before the first open one.
        "isolation.level": "read_committed",
        # Retention may overtake a reader. librdkafka's default is to go on behind the last record.
        "auto.offset.reset": "earliest",
        "error_cb": refusals.note,
    }
    with settings_in_words():
        return Consumer({**settings.confluent_kafka(), **reading, **options}, logger=QUIET)


class TopicReader:
    """Raises OperatorError when a topic is missing or may not be read, and its KafkaUnavailableError when no broker
    answers within ``timeout_s``. Keeps its connection from call to call."""

    def __init__(self, settings: Settings, timeout_s: float = 15.0, isolation: Isolation = "read_committed") -> None:
        """``read_uncommitted``: the bounds are those of all that was written, with what is in an open transaction."""
        self._settings = settings
        self._timeout_s = timeout_s
        self._refusals = KafkaRefusals(settings)
        self._asking = consumer(settings, self._refusals, **{"isolation.level": isolation})

    def bounds(self, topic: str) -> Ranges:
        """First and end offset of each partition, in their order."""
        return _bounds(self._asking, self._refusals, topic, self._timeout_s)

    def beyond(self, topic: str, begin: Mapping[int, int]) -> Ranges:
        """As ``bounds``, from the offset that ``begin`` has for a partition."""
        return {at: (max(start, begin.get(at, start)), end) for at, (start, end) in self.bounds(topic).items()}

    def since(self, topic: str, time_ms: int) -> Ranges:
        """Of each partition the offset of the first record with this record time or a later one, and the end."""
        ends = {partition: end for partition, (_, end) in self.bounds(topic).items()}
        try:
            wanted = [TopicPartition(topic, partition, time_ms) for partition in ends]
            found = self._asking.offsets_for_times(wanted, timeout=self._timeout_s)
        except KafkaException as error:
            self._asking.poll(0)
            raise self._refusals.raised_by(error.args[0], topic) from error
        for at in found:
            if at.error is not None:
                raise self._refusals.raised_by(at.error, topic)
        # Less than 0: no record is that young.
        return {at.partition: (at.offset if at.offset >= 0 else ends[at.partition], ends[at.partition]) for at in found}

    def read(self, topic: str, ranges: Mapping[int, tuple[int, int]] | None = None) -> Iterator[Record]:
        """The records of ``ranges`` that the topic has now, in order of their offsets within a partition; None: all.

        Offsets without a record (markers of transactions, gaps of compaction and retention) are passed over.
        KafkaUnavailableError when nothing comes for ``timeout_s`` before the ends.
        """
        for batch in self.batches(topic, ranges):
            yield from batch

    def batches(self, topic: str, ranges: Mapping[int, tuple[int, int]] | None = None) -> Iterator[list[Record]]:
        """As ``read``, in lists. An empty one: nothing came for a moment, and a caller may stop waiting."""
        bounds = self.bounds(topic)
        wanted = {at: span for at, span in (bounds if ranges is None else ranges).items() if at in bounds}
        ends = {at: min(end, bounds[at][1]) for at, (_, end) in wanted.items()}
        position = {at: max(start, bounds[at][0]) for at, (start, _) in wanted.items()}
        position = {at: start for at, start in position.items() if start < ends[at]}
        # The end of a partition is told by the fetch after the last record: let the broker answer it at once.
        options = {"enable.partition.eof": True, "fetch.wait.max.ms": 10}
        reader = consumer(self._settings, self._refusals, **options)
        silent_s = 0.0
        try:
            reader.assign([TopicPartition(topic, at, start) for at, start in position.items()])
            while position:
                silent_s += _POLL_S
                found = []
                for message in cast(list[Record], reader.consume(_MOST_AT_ONCE, _POLL_S)):
                    error, at, offset = message.error(), message.partition(), message.offset()
                    if error is not None and error.code() != KafkaError._PARTITION_EOF:
                        raise self._refusals.raised_by(error, topic)
                    if at not in position:
                        continue
                    if error is None and offset < ends[at]:
                        found.append(message)
                    # At the end of a partition it is the offset of the next record.
                    after = offset if error is not None else offset + 1
                    if after > position[at]:
                        position[at], silent_s = after, 0.0
                    if after >= ends[at]:
                        del position[at]
                yield found
                if silent_s >= self._timeout_s and position:
                    raise KafkaUnavailableError(self._refusals.of_silence(topic, position, ends, self._timeout_s))
        finally:
            reader.close()


class Tail:
    """What comes into topics from now on. A context manager.

    Raises OperatorError when a topic is missing or may not be read, and its KafkaUnavailableError when no broker
    answers within ``timeout_s``.
    """

    def __init__(self, settings: Settings, *topics: str, timeout_s: float = 15.0) -> None:
        self._refusals = KafkaRefusals(settings)
        self._reader = consumer(settings, self._refusals)
        ends = {topic: _bounds(self._reader, self._refusals, topic, timeout_s) for topic in topics}
        self._reader.assign(
            [TopicPartition(topic, at, end) for topic, bounds in ends.items() for at, (_, end) in bounds.items()]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()

    def take(self, timeout_s: float) -> list[Record]:
        """What comes within ``timeout_s``; of brokers that are down nothing comes. Raises OperatorError when a topic
        cannot be read any more."""
        messages = cast(list[Record], self._reader.consume(_MOST_AT_ONCE, timeout_s))
        for message in messages:
            if (error := message.error()) is not None:
                raise self._refusals.raised_by(error, message.topic())
        return messages


def _bounds(client: Consumer, refusals: KafkaRefusals, topic: str, timeout_s: float) -> Ranges:
    try:
        known = client.list_topics(topic, timeout=timeout_s).topics[topic]
        if known.error is not None:
            raise OperatorError(refusals.of_topic(topic, known.error))
        places = [TopicPartition(topic, partition) for partition in sorted(known.partitions)]
        return {at.partition: client.get_watermark_offsets(at, timeout=timeout_s) for at in places}
    except KafkaException as error:
        client.poll(0)  # refusals learn why
        raise refusals.raised_by(error.args[0], topic) from error
