"""A lane decides records of some partitions: score, send, remember, acknowledged, in that order."""

import threading
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from confluent_kafka import KafkaException

from fraud_core.settings import Settings
from fraud_core.timestamps import format_rfc3339_ms, now_ms
from fraud_core.topics import DEAD_LETTER, PREDICTIONS, TRANSACTIONS
from streaming.errors import KafkaRefusedError
from streaming.job.rebuild import HistoryRebuilder
from streaming.job.scorer import Histories, ScoredBatch, Scorer, Serving
from streaming.job.sink import KafkaSink
from streaming.state.checkpoint import OffsetRange
from streaming.state.online_store import HistoriesLostError, OnlineStore


@dataclass(frozen=True)
class Decided:
    """ingest_time_ms : (n,) int64, of each prediction. refused : dead letters by kind of reason.
    seconds_to_score : until there was something to send.
    """

    ingest_time_ms: np.ndarray
    alerts: int
    refused: Counter[str]
    seconds_to_score: float


class Lane:
    """``stop`` ends waits for Kafka and the store."""

    def __init__(self, settings: Settings, stream_id: str, sink: KafkaSink, stop: threading.Event) -> None:
        self._settings = settings
        self._sink = sink
        self._stop = stop
        self._store = OnlineStore(settings.store_address, stream_id, stop)
        self._scorer = Scorer(self._store, TRANSACTIONS.name)

    def decide(self, records: pa.Table, ranges: dict[int, OffsetRange], serving: Serving) -> Decided:
        """Decide ``records`` (scorer.SCHEMA), which are all there are in ``ranges``. On return Kafka has what became of
        them. Raises KafkaRefusedError when it does not want it.
        """
        began = time.perf_counter()
        try:
            scored = self._score(records, ranges, serving)
            seconds_to_score = time.perf_counter() - began
            headers = {"scored_at": format_rfc3339_ms(now_ms())}
            self._sink.send(PREDICTIONS.name, scored.predictions, headers)
            self._sink.send(DEAD_LETTER.name, scored.dead_letters, headers)
            # While Kafka acknowledges. The order does not matter for a replay, see online_store.
            self._remember(ranges, scored.histories, serving)
            self._sink.flush()
        except KafkaException as error:
            raise KafkaRefusedError(error.args[0].name(), error.args[0].str()) from error
        return Decided(scored.ingest_time_ms, scored.alerts, scored.refused, seconds_to_score)

    def _score(self, records: pa.Table, ranges: dict[int, OffsetRange], serving: Serving) -> ScoredBatch:
        while True:
            try:
                return self._scorer.score(records, ranges, serving)
            except HistoriesLostError as lost:
                self._rebuild(lost.partition, ranges, serving)

    def _remember(self, ranges: dict[int, OffsetRange], histories: Histories, serving: Serving) -> None:
        while True:
            try:
                return self._store.write(ranges, histories.users, histories.blobs)
            except HistoriesLostError as lost:
                self._rebuild(lost.partition, ranges, serving)

    def _rebuild(self, partition: int, ranges: dict[int, OffsetRange], serving: Serving) -> None:
        tolerance_ms = serving.future_tolerance_ms
        rebuilder = HistoryRebuilder(self._settings, TRANSACTIONS.name, tolerance_ms, self._scorer, self._store)
        rebuilder.rebuild(partition, ranges[partition], self._stop)
