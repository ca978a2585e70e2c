"""A KafkaResource without a broker: topics are lists of message values in one partition; None: an offset without a
record, as transactions leave them."""

from collections.abc import Iterator

from fraud_assets.lake.offset_log import Offsets, TopicRange
from fraud_assets.resources import KafkaResource


class FakeMessage:
    def __init__(self, value: str, offset: int) -> None:
        self._value, self._offset = value, offset

    def value(self) -> bytes:
        return self._value.encode()

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset


class FakeKafka(KafkaResource):
    topics: dict[str, list[str | None]]

    def offsets(self, topic: str) -> tuple[Offsets, Offsets]:
        return {0: 0}, {0: len(self.topics[topic])}

    def messages(self, topic: str, offsets: TopicRange) -> Iterator[FakeMessage]:
        for offset in range(offsets.start[0], offsets.end[0]):
            if (value := self.topics[topic][offset]) is not None:
                yield FakeMessage(value, offset)
