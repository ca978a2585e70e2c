"""What happens in a micro-batch: plan, score, send, remember, acknowledge, in that order."""

import logging
import threading
import time
from functools import cached_property

import numpy as np
import pyarrow as pa

from fraud_core.settings import Settings
from fraud_core.timestamps import SECOND_MS, format_rfc3339_ms, now_ms
from fraud_core.topics import DEAD_LETTER, PREDICTIONS, TRANSACTIONS
from streaming import failpoints, merchant_risk_source, metrics
from streaming.batch_plan import BatchPlan, PlanLog
from streaming.checkpoint import Checkpoint, OffsetRange
from streaming.errors import OperatorError, StoppedError
from streaming.log_lines import BATCH
from streaming.merchant_risk_source import MerchantRiskSource, RiskTables
from streaming.model_source import Models, ModelSource
from streaming.online_store import HistoriesLostError, OnlineStore
from streaming.rebuild import HistoryRebuilder
from streaming.scorer import Histories, ScoredBatch, Scorer, Serving
from streaming.sink import KafkaSink

log = logging.getLogger(__name__)


class MicroBatches:
    """Scores micro-batches one after the other. A micro-batch either ends, or runs again from its beginning.

    ``stop`` is set to end waits and to refuse further micro-batches; the running one is finished first.
    """

    def __init__(
        self,
        settings: Settings,
        checkpoint: Checkpoint,
        models: ModelSource,
        risk_tables: MerchantRiskSource,
        sink: KafkaSink,
        stop: threading.Event,
    ) -> None:
        self._settings = settings
        self._checkpoint = checkpoint
        self._models = models
        self._risk_tables = risk_tables
        self._stop = stop
        self._sink = sink
        self._plans = PlanLog(checkpoint.folder / "plans")
        self._plan = self._plans.last()
        self._serving: Serving | None = None
        self._replayed = checkpoint.replayed_batch()
        if self._plan is not None:
            models.restore(self._plan.champion, self._plan.challenger)

    def score(self, records: pa.Table, batch_id: int) -> None:
        """Score a micro-batch's records (scorer.SCHEMA). On return its predictions are acknowledged by Kafka."""
        if self._stop.is_set():
            raise StoppedError("stopped before a micro-batch")
        BATCH.set(str(batch_id))
        began = time.perf_counter()
        ranges = self._checkpoint.ranges(batch_id)
        serving = self._serve(batch_id)
        scored = self._score(records, ranges, serving)
        scored_at = format_rfc3339_ms(now_ms())
        seconds_to_score = time.perf_counter() - began
        headers = {"scored_at": scored_at}
        self._sink.send(PREDICTIONS.name, scored.predictions, headers)
        self._sink.send(DEAD_LETTER.name, scored.dead_letters, headers)
        # While Kafka acknowledges. The order does not matter for a replay, see online_store.
        self._remember(ranges, scored.histories, serving)
        self._sink.flush()
        failpoints.reach("after_sink")
        self._report(batch_id, len(records), scored, seconds_to_score, time.perf_counter() - began)

    @cached_property
    def _store(self) -> OnlineStore:
        # Not before the first micro-batch: a new checkpoint has no identity until Spark has begun to use it.
        return OnlineStore(self._settings.store_address, self._checkpoint.query_id, self._stop)

    @cached_property
    def _scorer(self) -> Scorer:
        return Scorer(self._store, TRANSACTIONS.name)

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
        kafka, tolerance_ms = self._settings.confluent_kafka(), serving.future_tolerance_ms
        rebuilder = HistoryRebuilder(kafka, TRANSACTIONS.name, tolerance_ms, self._scorer, self._store)
        rebuilder.rebuild(partition, ranges[partition], self._stop)

    def _serve(self, batch_id: int) -> Serving:
        """What decides this micro-batch; durable before it is used."""
        if batch_id == self._replayed and self._plan is not None:
            return self._serving_of(self._plan)
        models, tables = self._models.current, self._risk_tables.current
        plan = BatchPlan(
            models.champion and models.champion.version,
            models.challenger and models.challenger.version,
            models.is_confirmed,
            tables.names,
            self._settings.future_tolerance_s * SECOND_MS,
            self._settings.ab_share,
            self._settings.review_share,
        )
        if plan != self._plan:
            self._plans.write(batch_id, plan)
            self._plan, self._serving = plan, None
            log.info("decided by %s", plan)
        if self._serving is None:
            self._serving = _serving(models, tables, plan)
            _report_models(models)
        return self._serving

    def _serving_of(self, plan: BatchPlan) -> Serving:
        """What decided the micro-batch that runs again. Raises OperatorError when that is no longer to be had."""
        try:
            champion, challenger = (self._models.get(name, self._stop) for name in (plan.champion, plan.challenger))
            tables = merchant_risk_source.load(self._risk_tables.folder, plan.merchant_risk_tables)
        except (ValueError, FileNotFoundError) as error:
            raise OperatorError(
                f"the micro-batch that was running when the job ended must be decided by {plan} again, and that is not "
                f"possible: {error}"
            ) from error
        return _serving(Models(champion, challenger, plan.is_confirmed), tables, plan)

    def _report(
        self, batch_id: int, records: int, scored: ScoredBatch, seconds_to_score: float, seconds: float
    ) -> None:
        latency_s = time.time() - scored.ingest_time_ms / SECOND_MS
        metrics.TRANSACTIONS.inc(records)
        metrics.PREDICTIONS.inc(len(scored.predictions))
        metrics.ALERTS.inc(scored.alerts)
        for kind, count in scored.refused.items():
            metrics.DEAD_LETTERS.labels(kind).inc(count)
        metrics.LATENCY.observe(latency_s)
        metrics.BATCH_SECONDS.observe(seconds)
        metrics.STAGE_SECONDS.labels("score").inc(seconds_to_score)
        metrics.STAGE_SECONDS.labels("deliver").inc(seconds - seconds_to_score)
        metrics.LAST_BATCH.set(batch_id)
        metrics.LAST_BATCH_TIME.set(time.time())
        if len(latency_s):
            metrics.LAST_LATENCY.set(np.median(latency_s))
        log.info(
            "records=%d predictions=%d alerts=%d dead_letters=%d score_ms=%.0f batch_ms=%.0f latency_ms=%.0f",
            records,
            len(scored.predictions),
            scored.alerts,
            len(scored.dead_letters),
            seconds_to_score * 1000,
            seconds * 1000,
            np.median(latency_s) * 1000 if len(latency_s) else 0,
        )


def _serving(models: Models, tables: RiskTables, plan: BatchPlan) -> Serving:
    return Serving(models, tables, plan.future_tolerance_ms, plan.ab_share, plan.review_share)


def _report_models(models: Models) -> None:
    metrics.MODEL.clear()
    metrics.MODEL_TRAINED_UNTIL.clear()
    for role, served in (("champion", models.champion), ("challenger", models.challenger)):
        if served is not None:
            metrics.MODEL.labels(role, served.version).set(1)
            metrics.MODEL_TRAINED_UNTIL.labels(role).set(served.model.card.training_window[1] / SECOND_MS)
