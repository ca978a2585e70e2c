"""A lane in a process of its own: what runs there. The streaming job starts it and ends it (streaming.job.lanes)."""

import logging
import multiprocessing
import os
import signal
import threading
from dataclasses import replace

import pyarrow as pa

from fraud_core.settings import Settings
from fraud_io.folders import Lake
from streaming import log_lines
from streaming.job.batch_plan import BatchPlan
from streaming.job.lane import Decided, Lane
from streaming.job.scorer import Serving
from streaming.job.sink import KafkaSink
from streaming.job.warm_up import warm_up
from streaming.models import merchant_risk_source
from streaming.models.model_cache import ModelCache
from streaming.state.checkpoint import OffsetRange

log = logging.getLogger(__name__)


class NotAtHandError(Exception):
    """What a plan names, which the job had a moment ago, is not there to be read."""


class _Process:
    """The lane, and what it decides with."""

    def __init__(self, settings: Settings, stream_id: str, stop: threading.Event) -> None:
        self._lane = Lane(settings, stream_id, KafkaSink(settings.confluent_kafka(), stop), stop)
        # Nobody asks the registry here: the job keeps on disk what it serves.
        self._models = ModelCache(settings.model_cache)
        self._risk_tables = Lake(settings.lake).merchant_risk
        self._plan: BatchPlan | None = None

    def decide(self, records: pa.Table, ranges: dict[int, OffsetRange], plan: BatchPlan) -> Decided:
        if plan != self._plan:
            self._serving, self._plan = self._serve(plan), plan
        return self._lane.decide(records, ranges, self._serving)

    def _serve(self, plan: BatchPlan) -> Serving:
        try:
            models = replace(self._models.models(plan.champion, plan.challenger), is_confirmed=plan.is_confirmed)
            tables = merchant_risk_source.load(self._risk_tables, plan.merchant_risk_tables)
        except (ValueError, FileNotFoundError) as error:
            raise NotAtHandError(str(error)) from error
        found = tuple(served and served.version for served in (models.champion, models.challenger))
        if found != (plan.champion, plan.challenger):
            raise NotAtHandError(f"the models of {plan}")
        return Serving.of(plan, models, tables)


_process: _Process


def begin(settings: Settings, stream_id: str, stop: threading.Event) -> None:
    """Called once, before anything else."""
    global _process
    for number in (signal.SIGINT, signal.SIGTERM):  # the job ends it, between two micro-batches
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    log_lines.configure()
    warm_up()
    _process = _Process(settings, stream_id, stop)
    log.info("ready to decide partitions of large micro-batches")


def is_ready() -> bool:
    return True


def decide(records: pa.Table, ranges: dict[int, OffsetRange], plan: BatchPlan, batch: str) -> Decided:
    """Lane.decide with what ``plan`` names; ``batch`` is for the log. Raises NotAtHandError before anything is sent."""
    log_lines.BATCH.set(batch)
    return _process.decide(records, ranges, plan)


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
