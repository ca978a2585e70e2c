"""Reads a topic from a command: bounded by its present end, outside any consumer group, nothing committed."""

from collections.abc import Iterator, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from fraud_core.settings import Settings
from fraud_io.errors import OperatorError
from fraud_io.kafka_errors import QUIET, KafkaRefusals

_TIMEOUT_S = 15.0


class TopicReader:
    """Raises OperatorError when the brokers do not answer or the topic is missing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._refusals = KafkaRefusals(settings)

    def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        """First and end offset of each partition."""
        reader = self._consumer()
        try:
            known = reader.list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
            if known.error is not None:
                raise OperatorError(self._refusals.of_topic(topic, known.error))
            places = [TopicPartition(topic, partition) for partition in known.partitions]
            return {at.partition: reader.get_watermark_offsets(at, timeout=_TIMEOUT_S) for at in places}
        except KafkaException as error:
            reader.poll(0)
            raise OperatorError(self._refusals.of_call(error.args[0])) from error
        finally:
            reader.close()

    def since(self, topic: str, time_ms: int) -> dict[int, tuple[int, int]]:
        """Of each partition the offset of the first record with this record time or a later one, and the end."""
        bounds = self.bounds(topic)
        reader = self._consumer()
        try:
            wanted = [TopicPartition(topic, partition, time_ms) for partition in bounds]
            found = reader.offsets_for_times(wanted, timeout=_TIMEOUT_S)
        finally:
            reader.close()
        ends = {partition: end for partition, (_, end) in bounds.items()}
        # Less than 0: no record is that young.
        first = {at.partition: at.offset if at.offset >= 0 else ends[at.partition] for at in found}
        return {partition: (first[partition], end) for partition, end in ends.items()}

    def read(self, topic: str, ranges: Mapping[int, tuple[int, int]]) -> Iterator[Message]:
        """The records with offsets [start, end) of each partition, as far as they are in the topic."""
        bounds = self.bounds(topic)
        begin = {at: max(start, bounds[at][0]) for at, (start, _) in ranges.items() if at in bounds}
        remaining = {at: min(ranges[at][1], bounds[at][1]) for at in begin}
        remaining = {at: end for at, end in remaining.items() if begin[at] < end}
        reader = self._consumer()
        try:
            reader.assign([TopicPartition(topic, at, begin[at]) for at in remaining])
            while remaining:
                for message in reader.consume(10_000, timeout=0.2):
                    end = remaining.get(message.partition())
                    error = message.error()
                    if error is not None and error.code() != KafkaError._PARTITION_EOF:
                        raise KafkaException(error)
                    if end is not None and message.offset() >= end - 1:
                        del remaining[message.partition()]
                    if error is None and end is not None and message.offset() < end:
                        yield message
        finally:
            reader.close()

    def _consumer(self) -> Consumer:
        # The end of a partition is told by the fetch after the last record: let the broker answer it at once.
        kafka = {**self._settings.confluent_kafka(), "error_cb": self._refusals.note, "fetch.wait.max.ms": 10}
        return Consumer(
            {**kafka, "group.id": "fraud-reader", "enable.auto.commit": False, "enable.partition.eof": True},
            logger=QUIET,
        )
