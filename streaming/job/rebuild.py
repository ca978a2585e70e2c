"""Brings the online store's histories of a partition up to a micro-batch, from the topic.

Needed when the store was wiped or came back as an older copy. Folding the features over the records in between gives
the histories the stream itself would have written, to the bit, because no cut into batches changes a feature. What
retention has removed from the topic is missing from rebuilt histories too; the log says so.
"""

import logging
import threading
from collections.abc import Iterator

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from fraud_core.features.merchant_risk import MerchantRisk
from fraud_core.payments.transaction import decode_transactions
from streaming.errors import StoppedError
from streaming.job.scorer import Scorer
from streaming.state.checkpoint import OffsetRange
from streaming.state.online_store import HistoriesLostError, OnlineStore

log = logging.getLogger(__name__)

_CHUNK = 20_000
_POLL_S = 1.0


class HistoryRebuilder:
    """Reads ``topic`` with the connection settings ``kafka`` (librdkafka's names); commits no offset."""

    def __init__(
        self, kafka: dict[str, str], topic: str, future_tolerance_ms: int, scorer: Scorer, store: OnlineStore
    ) -> None:
        self._kafka = kafka
        self._topic = topic
        self._future_tolerance_ms = future_tolerance_ms
        self._scorer = scorer
        self._store = store

    def rebuild(self, partition: int, covered: OffsetRange, stop: threading.Event) -> None:
        """Fold the records up to where ``covered`` starts. Interrupted, it goes on from there the next time."""
        while True:
            try:
                return self._rebuild(partition, covered, stop)
            except HistoriesLostError:
                log.warning("the online store lost the histories of partition %d again", partition)

    def _rebuild(self, partition: int, covered: OffsetRange, stop: threading.Event) -> None:
        position = self._store.position(partition)
        if position is None:
            self._store.clear(partition)
            position = covered.initial
        log.warning("rebuilding histories of partition %d: offsets %d to %d", partition, position, covered.start)
        for messages, end in self._chunks(partition, position, covered.start, stop):
            transactions = decode_transactions(
                [message.value() for message in messages],
                [partition] * len(messages),
                [message.offset() for message in messages],
                [message.timestamp()[1] for message in messages],
                future_tolerance_ms=self._future_tolerance_ms,
            ).transactions
            chunk = {partition: OffsetRange(covered.initial, position, end)}
            _, histories = self._scorer.features(transactions, chunk, MerchantRisk.empty())
            self._store.write(chunk, histories.users, histories.blobs)
            position = end
        log.warning("the histories of partition %d are rebuilt", partition)

    def _chunks(
        self, partition: int, start: int, end: int, stop: threading.Event
    ) -> Iterator[tuple[list[Message], int]]:
        """The partition's records with offset in [start, end), and where each chunk ends."""
        consumer = Consumer({**self._kafka, "group.id": "fraud-rebuild", "enable.auto.commit": False})
        try:
            low, _ = consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=30.0)
            if low > start:
                log.warning("offsets %d to %d of partition %d are no longer in the topic", start, low, partition)
            consumer.assign([TopicPartition(self._topic, partition, max(start, low) if start else OFFSET_BEGINNING)])
            position = start
            while position < end:
                if stop.is_set():
                    raise StoppedError("stopped while rebuilding histories")
                messages = consumer.consume(_CHUNK, timeout=_POLL_S)
                if messages:
                    for message in messages:
                        _raise_on_error(message)
                    position = min(messages[-1].offset() + 1, end)
                elif consumer.position([TopicPartition(self._topic, partition)])[0].offset >= end:
                    position = end
                yield [message for message in messages if message.offset() < end], position
        finally:
            consumer.close()


def _raise_on_error(message: Message) -> None:
    error: KafkaError | None = message.error()
    if error is not None:
        raise KafkaException(error)
