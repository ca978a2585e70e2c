"""Brings the online store's histories of a partition up to a micro-batch, from the topic.

Needed when the store was wiped or came back as an older copy. Folding the features over the records in between gives
the histories the stream itself would have written, to the bit, because no cut into batches changes a feature. What
retention has removed from the topic is missing from rebuilt histories too; the log says so.
"""

import logging
import threading
import time
from dataclasses import replace

import pyarrow as pa

from fraud_core.features.exchange_rates import ExchangeRates
from fraud_core.features.merchant_risk import MerchantRisk
from fraud_core.payments.reader import ReadingRules
from fraud_core.payments.transaction import decode_transactions
from fraud_core.settings import Settings
from fraud_io.kafka.reader import Record, TopicReader
from fraud_io.schema_registry.messages import opener
from streaming.errors import StoppedError
from streaming.job.scorer import Scorer
from streaming.models.schema_source import SchemaSource
from streaming.state.checkpoint import OffsetRange
from streaming.state.online_store import HistoriesLostError, OnlineStore

log = logging.getLogger(__name__)

_PROGRESS_S = 5.0


class HistoryRebuilder:
    """Reads ``topic``; commits no offset. Raises KafkaUnavailableError when it stops coming."""

    def __init__(
        self,
        settings: Settings,
        topic: str,
        rules: ReadingRules,
        scorer: Scorer,
        store: OnlineStore,
        exchange_rates: ExchangeRates,
    ) -> None:
        self._reader = TopicReader(settings)
        self._topic = topic
        self._rules = rules
        self._settings = settings
        self._scorer = scorer
        self._store = store
        self._exchange_rates = exchange_rates

    def rebuild(self, partition: int, covered: OffsetRange, stop: threading.Event) -> None:
        """Fold the records up to where ``covered`` starts. Interrupted, it goes on from there the next time."""
        # Records of long ago may name schemas that no micro-batch of this stream has named.
        self._schemas = SchemaSource(self._settings, stop)
        self._rules = replace(self._rules, open_message=opener(self._settings, self._schemas))
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
        low, _ = self._reader.bounds(self._topic)[partition]
        if low > position:
            log.warning("offsets %d to %d of partition %d are no longer in the topic", position, low, partition)
        first, shown = position, time.monotonic()
        for messages in self._reader.batches(self._topic, {partition: (position, covered.start)}):
            if stop.is_set():
                raise StoppedError("stopped while rebuilding histories")
            if messages:
                chunk = OffsetRange(covered.initial, position, messages[-1].offset() + 1)
                self._fold(partition, messages, chunk)
                position = chunk.end
            if time.monotonic() - shown >= _PROGRESS_S:
                shown = time.monotonic()
                done, total = position - first, covered.start - first
                log.info("histories of partition %d: %d of %d records", partition, done, total)
        if position < covered.start:  # the last offsets hold no record
            self._fold(partition, [], OffsetRange(covered.initial, position, covered.start))
        log.warning("the histories of partition %d are rebuilt", partition)

    def _fold(self, partition: int, messages: list[Record], chunk: OffsetRange) -> None:
        """Bring the histories from the beginning to the end of ``chunk``, of which ``messages`` are all there are."""
        values = [message.value() for message in messages]
        self._schemas.learn(pa.chunked_array([values], pa.binary()))
        transactions = decode_transactions(
            values,
            [partition] * len(messages),
            [message.offset() for message in messages],
            [message.timestamp()[1] for message in messages],
            self._rules,
        ).transactions
        _, histories = self._scorer.features(
            transactions, {partition: chunk}, MerchantRisk.empty(), self._exchange_rates
        )
        self._store.write({partition: chunk}, histories.users, histories.blobs)
