"""Lanes decide the records of a micro-batch: a small one in the job's own process, a large one in several beside it.

Read from above: ``Lane`` decides some partitions, ``Lanes`` shares partitions out among lanes, and at the end stands
what runs in another process.

Partitions are independent of each other, and half of the work is done under the interpreter's lock: threads would gain
little. A small micro-batch stays in the job's process: handing it over would cost more than it gains.
"""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing.synchronize import Event
from typing import NamedTuple, cast

import numpy as np
import pyarrow as pa
from confluent_kafka import KafkaException

from fraud_core.settings import Settings
from fraud_core.timestamps import format_rfc3339_ms, now_ms
from fraud_io.errors import OperatorError
from fraud_io.exchange_rate_log import ExchangeRateLog
from fraud_io.folders import Lake
from streaming import log_lines
from streaming.errors import KafkaRefusedError
from streaming.job.batch_plan import BatchPlan
from streaming.job.rebuild import HistoryRebuilder
from streaming.job.scorer import Histories, ScoredBatch, Scorer, Serving
from streaming.job.sink import KafkaSink
from streaming.job.warm_up import warm_up
from streaming.models import merchant_risk_source
from streaming.models.model_cache import ModelCache
from streaming.state.checkpoint import OffsetRange
from streaming.state.online_store import HistoriesLostError, OnlineStore

log = logging.getLogger(__name__)

LARGE = 5_000  # records
_IDLE_S = 600.0
_POLL_S = 0.2


class Part(NamedTuple):
    """``records`` (scorer.SCHEMA) are all there are in ``ranges``, by partition."""

    records: pa.Table
    ranges: dict[int, OffsetRange]


@dataclass(frozen=True)
class Outcome:
    """What became of a part.

    ingest_time_ms : (n,) int64, of each prediction. refused : dead letters by kind of reason. ignored :
    optional fields that could not be used, by field. repeats, foreign_keys : see scorer.ScoredBatch. without_rate :
    payments without an exchange rate, by currency.
    seconds_to_score : until there was something to send.
    """

    ingest_time_ms: np.ndarray
    alerts: int
    refused: Counter[str]
    ignored: Counter[str]
    repeats: int
    foreign_keys: int
    without_rate: Counter[str]
    seconds_to_score: float


class Lane:
    """Scores a part, sends the result, stores the new histories and waits for Kafka to acknowledge, in that order.

    ``stop`` ends waits for Kafka and the store.
    """

    def __init__(self, settings: Settings, stream_id: str, sink: KafkaSink, stop: threading.Event) -> None:
        self._settings = settings
        self._topics = settings.topics
        self._sink = sink
        self._stop = stop
        self._store = OnlineStore(settings.store_address, stream_id, stop)
        self._scorer = Scorer(self._store, self._topics.transactions)

    def run(self, part: Part, serving: Serving) -> Outcome:
        """On return Kafka has a prediction or a dead letter for each record. Raises KafkaRefusedError when it refuses
        one.
        """
        began = time.perf_counter()
        try:
            scored = self._score(part, serving)
            seconds_to_score = time.perf_counter() - began
            headers = {"scored_at": format_rfc3339_ms(now_ms())}
            self._sink.send(self._topics.predictions, scored.predictions, headers)
            self._sink.send(self._topics.dead_letter, scored.dead_letters, headers)
            # While Kafka acknowledges. The order does not matter for a replay, see online_store.
            self._store_histories(part.ranges, scored.histories, serving)
            self._sink.flush()
        except KafkaException as error:
            raise KafkaRefusedError(error.args[0].name(), error.args[0].str()) from error
        return Outcome(
            scored.ingest_time_ms,
            scored.alerts,
            scored.refused,
            scored.ignored,
            scored.repeats,
            scored.foreign_keys,
            scored.without_rate,
            seconds_to_score,
        )

    def _score(self, part: Part, serving: Serving) -> ScoredBatch:
        while True:
            try:
                return self._scorer.score(part.records, part.ranges, serving)
            except HistoriesLostError as lost:
                self._rebuild(lost.partition, part.ranges, serving)

    def _store_histories(self, ranges: dict[int, OffsetRange], histories: Histories, serving: Serving) -> None:
        while True:
            try:
                return self._store.write(ranges, histories.users, histories.blobs)
            except HistoriesLostError as lost:
                self._rebuild(lost.partition, ranges, serving)

    def _rebuild(self, partition: int, ranges: dict[int, OffsetRange], serving: Serving) -> None:
        rebuilder = HistoryRebuilder(
            self._settings,
            self._topics.transactions,
            serving.rules,
            self._scorer,
            self._store,
            serving.exchange_rates,
        )
        rebuilder.rebuild(partition, ranges[partition], self._stop)


class Lanes:
    """``settings.stream_lanes`` lanes: ``here`` in this process, each of the others in a process of its own.

    The processes are started when the first large micro-batch comes, and take part once they are ready. When one dies,
    its part is decided here, with the same bytes whatever it had sent already.
    """

    def __init__(self, settings: Settings, stream_id: str, here: Lane, stop: threading.Event) -> None:
        self._settings = settings
        self._stream_id = stream_id
        self._here = here
        self._stop = stop
        self._pool: ProcessPoolExecutor | None = None
        self._started: list[Future[bool]] = []
        self._stop_others: Event | None = None  # as ``stop``, in the other processes
        self._used_at = 0.0

    def run(self, batch: Part, serving: Serving, plan: BatchPlan) -> list[Outcome]:
        """As Lane.run, of each lane that took part. ``serving`` is what ``plan`` names."""
        count = min(self._settings.stream_lanes, len(batch.ranges))
        if len(batch.records) < LARGE or count == 1:
            self._end_when_idle()
            return [self._here.run(batch, serving)]
        self._used_at = time.monotonic()
        if not self._others_are_ready():
            return [self._here.run(batch, serving)]
        mine, *others = cut(batch, count)
        running = [self._hand_over(part, plan) for part in others]
        try:
            outcomes = [self._here.run(mine, serving)]
        finally:
            # Also when this fails: nothing may be at work on a micro-batch that is given up.
            while wait(running, _POLL_S).not_done:
                if self._stop.is_set() and self._stop_others is not None:
                    self._stop_others.set()
        return outcomes + [self._outcome(future, part, serving) for future, part in zip(running, others, strict=True)]

    def close(self) -> None:
        """End the processes. They are between two micro-batches."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _others_are_ready(self) -> bool:
        if self._pool is None:
            self._start()
        if any(process.done() and process.exception() for process in self._started):
            log.warning("a process could not start: all partitions are decided by the job's own process")
            self.close()
            return False
        return all(process.done() for process in self._started)

    def _start(self) -> None:
        spawning = multiprocessing.get_context("spawn")  # a fork would copy locks as threads hold them
        others = self._settings.stream_lanes - 1
        self._stop_others = spawning.Event()
        stop = cast(threading.Event, self._stop_others)  # the two kinds have the same methods
        arguments = (self._settings, self._stream_id, stop)
        self._pool = ProcessPoolExecutor(others, spawning, initializer=_start_other, initargs=arguments)
        self._started = [self._pool.submit(_is_ready) for _ in range(others)]

    def _end_when_idle(self) -> None:
        if self._pool is not None and time.monotonic() - self._used_at > _IDLE_S:
            self.close()

    def _hand_over(self, part: Part, plan: BatchPlan) -> Future[Outcome]:
        assert self._pool is not None  # _others_are_ready has started it
        try:
            return self._pool.submit(_run_in_other, part, plan, log_lines.BATCH.get())
        except BrokenProcessPool as error:  # it died since the last micro-batch
            failed: Future[Outcome] = Future()
            failed.set_exception(error)
            return failed

    def _outcome(self, future: Future[Outcome], part: Part, serving: Serving) -> Outcome:
        try:
            return future.result()
        except (BrokenProcessPool, PlanUnavailableError) as error:
            log.warning("partitions %s are decided by the job's own process: %s", sorted(part.ranges), error)
            if isinstance(error, BrokenProcessPool):
                self.close()
            return self._here.run(part, serving)


def cut(batch: Part, count: int) -> Sequence[Part]:
    """``batch`` by partition in at most ``count`` parts of about as many records each; none of them is empty."""
    parts: list[dict[int, OffsetRange]] = [{} for _ in range(min(count, len(batch.ranges)))]
    lengths = [0] * len(parts)
    for partition, covered in sorted(batch.ranges.items(), key=lambda item: item[1].start - item[1].end):
        shortest = lengths.index(min(lengths))
        parts[shortest][partition] = covered
        lengths[shortest] += covered.end - covered.start
    partitions = batch.records["partition"].to_numpy()
    return [Part(batch.records.filter(np.isin(partitions, list(ranges))), ranges) for ranges in parts]


class PlanUnavailableError(Exception):
    """A model or a table that a plan names, which the job had a moment ago, cannot be read in another process."""


class _OtherLane:
    """A lane in another process, with the models and tables of the last plan."""

    def __init__(self, settings: Settings, stream_id: str, stop: threading.Event) -> None:
        self._settings = settings
        self._lane = Lane(settings, stream_id, KafkaSink(settings.confluent_kafka(), stop), stop)
        # Only the job asks the registry: it keeps on disk what it serves.
        self._models = ModelCache(settings.model_cache, settings.currency)
        self._risk_tables = Lake(settings.lake).merchant_risk
        self._exchange_rates = ExchangeRateLog(settings.lake)
        self._plan: BatchPlan | None = None

    def run(self, part: Part, plan: BatchPlan) -> Outcome:
        if plan != self._plan:
            self._serving, self._plan = self._load(plan), plan
        return self._lane.run(part, self._serving)

    def _load(self, plan: BatchPlan) -> Serving:
        try:
            models = replace(self._models.models(plan.champion, plan.challenger), is_confirmed=plan.is_confirmed)
            tables = merchant_risk_source.load(self._risk_tables, plan.merchant_risk_tables)
            rates = self._exchange_rates.rates(plan.currency, plan.exchange_rates)
        except (ValueError, FileNotFoundError, LookupError, OperatorError) as error:
            raise PlanUnavailableError(str(error)) from error
        found = tuple(served and served.version for served in (models.champion, models.challenger))
        if found != (plan.champion, plan.challenger):
            raise PlanUnavailableError(f"the models of {plan}")
        return Serving.of(plan, models, tables, rates, self._settings)


_other_lane: _OtherLane  # of this process, when it is another one


def _start_other(settings: Settings, stream_id: str, stop: threading.Event) -> None:
    """Called once in another process, before anything else."""
    global _other_lane
    for number in (signal.SIGINT, signal.SIGTERM):  # the job ends it, between two micro-batches
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    log_lines.configure()
    warm_up()
    _other_lane = _OtherLane(settings, stream_id, stop)
    log.info("ready to decide partitions of large micro-batches")


def _is_ready() -> bool:
    return True


def _run_in_other(part: Part, plan: BatchPlan, batch: str) -> Outcome:
    """``batch`` is for the log. Raises PlanUnavailableError before anything is sent."""
    log_lines.BATCH.set(batch)
    return _other_lane.run(part, plan)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
