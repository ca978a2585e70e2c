"""Lanes beside each other: partitions of a large micro-batch are shared out among processes.

Partitions have nothing to do with each other, and half of the work is done under the interpreter's lock: threads would
gain little. A small micro-batch is decided here alone: what it would gain is less than what handing it over costs.

The processes are started when the first large micro-batch comes, and take part once they are ready. When one is gone,
its part is decided here, with the same bytes whatever it had sent already.
"""

import logging
import multiprocessing
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Event

import numpy as np
import pyarrow as pa

from fraud_core.settings import Settings
from streaming.job import lane_process
from streaming.job.batch_plan import BatchPlan
from streaming.job.lane import Decided, Lane
from streaming.job.lane_process import NotAtHandError
from streaming.job.scorer import Serving
from streaming.log_lines import BATCH
from streaming.state.checkpoint import OffsetRange

log = logging.getLogger(__name__)

LARGE = 5_000  # records
_IDLE_S = 600.0
_LOOK_S = 0.2

Part = tuple[pa.Table, dict[int, OffsetRange]]


class Lanes:
    """``settings.stream_lanes`` of them; ``here`` is the one of this process."""

    def __init__(self, settings: Settings, stream_id: str, here: Lane, stop: threading.Event) -> None:
        self._settings = settings
        self._stream_id = stream_id
        self._here = here
        self._stop = stop
        self._pool: ProcessPoolExecutor | None = None
        self._started: list[Future[bool]] = []
        self._stop_others: Event | None = None  # as ``stop``, in the other processes
        self._used_at = 0.0

    def decide(
        self, records: pa.Table, ranges: dict[int, OffsetRange], serving: Serving, plan: BatchPlan
    ) -> list[Decided]:
        """As Lane.decide, with ``serving``, which is what ``plan`` names."""
        count = min(self._settings.stream_lanes, len(ranges))
        if len(records) < LARGE or count == 1:
            self._end_when_idle()
            return [self._here.decide(records, ranges, serving)]
        self._used_at = time.monotonic()
        if not self._is_ready():
            return [self._here.decide(records, ranges, serving)]
        mine, *others = cut(records, ranges, count)
        running = [self._hand_over(part, plan) for part in others]
        try:
            decided = [self._here.decide(*mine, serving)]
        finally:
            # Also when this fails: nothing may be at work on a micro-batch that is given up.
            while wait(running, _LOOK_S).not_done:
                if self._stop.is_set():
                    self._stop_others.set()
        return decided + [self._result(future, part, serving) for future, part in zip(running, others, strict=True)]

    def close(self) -> None:
        """End the processes. They are between two micro-batches."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _is_ready(self) -> bool:
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
        what = (self._settings, self._stream_id, self._stop_others)
        self._pool = ProcessPoolExecutor(others, spawning, lane_process.begin, what)
        self._started = [self._pool.submit(lane_process.is_ready) for _ in range(others)]

    def _end_when_idle(self) -> None:
        if self._pool is not None and time.monotonic() - self._used_at > _IDLE_S:
            self.close()

    def _hand_over(self, part: Part, plan: BatchPlan) -> Future[Decided]:
        try:
            return self._pool.submit(lane_process.decide, *part, plan, BATCH.get())
        except BrokenProcessPool as error:  # it died since the last micro-batch
            failed: Future[Decided] = Future()
            failed.set_exception(error)
            return failed

    def _result(self, future: Future[Decided], part: Part, serving: Serving) -> Decided:
        try:
            return future.result()
        except (BrokenProcessPool, NotAtHandError) as error:
            log.warning("partitions %s are decided by the job's own process: %s", sorted(part[1]), error)
            if isinstance(error, BrokenProcessPool):
                self.close()
            return self._here.decide(*part, serving)


def cut(records: pa.Table, ranges: dict[int, OffsetRange], count: int) -> Sequence[Part]:
    """``records`` by partition in at most ``count`` parts of about as many records each; none of them is empty."""
    parts: list[dict[int, OffsetRange]] = [{} for _ in range(min(count, len(ranges)))]
    lengths = [0] * len(parts)
    for partition, covered in sorted(ranges.items(), key=lambda item: item[1].start - item[1].end):
        shortest = lengths.index(min(lengths))
        parts[shortest][partition] = covered
        lengths[shortest] += covered.end - covered.start
    partitions = records["partition"].to_numpy()
    return [(records.filter(np.isin(partitions, list(part))), part) for part in parts]
