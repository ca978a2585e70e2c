"""What happens in a micro-batch: it is planned, decided (streaming.job.lanes), and reported, in that order."""

import logging
import threading
import time
from collections import Counter

import numpy as np
import pyarrow as pa

from fraud_core.model.roles import CHALLENGER, CHAMPION
from fraud_core.money import is_listed
from fraud_core.settings import Settings
from fraud_core.timestamps import SECOND_MS
from fraud_io.errors import OperatorError
from fraud_io.schema_registry.errors import UnknownSchemaError
from streaming import failpoints, metrics
from streaming.errors import StoppedError
from streaming.job.batch_plan import PLANS, BatchPlan, PlanLog
from streaming.job.lanes import Lane, Lanes, Outcome, Part
from streaming.job.rebuild import HistoryRebuilder
from streaming.job.refusal_limit import check_refusals
from streaming.job.scorer import Scorer, Serving
from streaming.job.sink import KafkaSink
from streaming.log_lines import BATCH
from streaming.models import merchant_risk_source
from streaming.models.exchange_rate_source import ExchangeRateSource
from streaming.models.merchant_risk_source import MerchantRiskSource
from streaming.models.model_cache import Models
from streaming.models.model_source import ModelSource
from streaming.models.schema_source import SchemaSource
from streaming.state.checkpoint import Checkpoint, OffsetRange
from streaming.state.online_store import OnlineStore
from streaming.state.skipped import SkippedOffsets

log = logging.getLogger(__name__)

SKIPPED = "skipped.json"


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
        exchange_rates: ExchangeRateSource,
        sink: KafkaSink,
        stop: threading.Event,
    ) -> None:
        self._settings = settings
        self._checkpoint = checkpoint
        self._models = models
        self._risk_tables = risk_tables
        self._exchange_rates = exchange_rates
        self._stop = stop
        self._sink = sink
        self._plans = PlanLog(checkpoint.folder / PLANS)
        self._plan = self._plans.last()
        self._schemas = self._make_schemas()
        self._serving: Serving | None = None
        self._lanes: Lanes | None = None
        self._skipped = SkippedOffsets(checkpoint.folder / SKIPPED)
        if checkpoint.begins():
            self._report_skipped()
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
        serving = self._serve(batch_id, records)
        assert self._plan is not None  # what _serve serves by
        if self._lanes is None:  # a new checkpoint has no identity until Spark has begun to use it
            self._lanes = self._make_lanes()
        outcomes = self._lanes.run(Part(records, ranges), serving, self._plan)
        failpoints.reach("after_sink")
        self._skip(ranges, records)
        self._report(batch_id, len(records), outcomes, time.perf_counter() - began)

    def read_past(self) -> None:
        """Bring the histories up to where a stream begins that does not decide all of the topic. Interrupted, it goes
        on from there the next time. Raises what HistoryRebuilder raises.
        """
        start = self._checkpoint.start
        if start is None:
            return
        store = OnlineStore(self._settings.store_address, self._checkpoint.query_id, self._stop)
        topic = self._settings.topics.transactions
        scorer = Scorer(store, topic)
        rules = self._settings.reading_rules
        rebuilder = HistoryRebuilder(self._settings, topic, rules, scorer, store, self._exchange_rates.current)
        for partition, begin in start.decided_from.items():
            covered = OffsetRange(start.histories_from[partition], begin, begin)
            if begin > covered.initial and (store.position(partition) or covered.initial) < begin:
                rebuilder.rebuild(partition, covered, self._stop)

    def close(self) -> None:
        """Call between two micro-batches, after the last one."""
        if self._lanes is not None:
            self._lanes.close()

    def _skip(self, ranges: dict[int, OffsetRange], records: pa.Table) -> None:
        partitions, counts = np.unique(records["partition"].to_numpy(), return_counts=True)
        self._skipped.add(ranges, dict(zip(partitions.tolist(), counts.tolist(), strict=True)))
        self._report_skipped()

    def _report_skipped(self) -> None:
        for partition, count in self._skipped.counts(self._checkpoint.beginning()).items():
            metrics.SKIPPED.labels(partition).set(count)

    def _make_lanes(self) -> Lanes:
        stream_id = self._checkpoint.query_id
        here = Lane(self._settings, stream_id, self._sink, self._stop)
        return Lanes(self._settings, stream_id, here, self._stop)

    def _make_schemas(self) -> SchemaSource:
        source = SchemaSource(self._settings, self._stop)
        if self._plan is None or self._plan.schema_registry != source.address:
            return source
        return SchemaSource(self._settings, self._stop, self._plan.schemas)

    def _serve(self, batch_id: int, records: pa.Table) -> Serving:
        """What decides this micro-batch; durable before it is used."""
        if batch_id == self._replayed and self._plan is not None and not self._plans.is_held(batch_id):
            return self._serving_of(self._plan)
        self._schemas.learn(records["value"])
        models, tables, rates = self._models.current, self._risk_tables.current, self._exchange_rates.current
        rules = self._settings.reading_rules
        plan = BatchPlan(
            models.champion.version if models.champion else None,
            models.challenger.version if models.challenger else None,
            models.is_confirmed,
            tables.names,
            rules.future_tolerance_ms,
            self._settings.ab_share,
            self._settings.review_share,
            rules.time_zone,
            self._schemas.address,
            self._schemas.known,
            rules.mapping,
            self._schemas.prediction_schema,
            rates.newest,
            rates.currency,
        )
        serving = self._serving
        if plan != self._plan or serving is None:
            serving = Serving.of(plan, models, tables, rates, self._settings)
        self._check_refusals(batch_id, records, serving)
        if plan != self._plan:
            self._plans.write(batch_id, plan)
            self._plan = plan
            log.info("decided by %s", plan)
        self._plans.release(batch_id)
        if serving is not self._serving:
            self._serving = serving
            _report_models(models)
        return serving

    def _check_refusals(self, batch_id: int, records: pa.Table, serving: Serving) -> None:
        limit = self._settings.refusal_limit
        if limit is not None:
            try:
                check_refusals(records, serving.rules, limit, self._settings.topics.transactions)
            except OperatorError:
                self._plans.hold(batch_id)
                raise

    def _serving_of(self, plan: BatchPlan) -> Serving:
        """What decided the micro-batch that runs again. Raises OperatorError when that is gone."""
        if plan.schema_registry != self._schemas.address:
            raise OperatorError(
                f"the micro-batch that was running when the job ended must be decided by {plan} again: set "
                f"FRAUD_SCHEMA_REGISTRY_URL to {plan.schema_registry or 'nothing'} once more, and change it after a "
                "stop with ./run down"
            )
        try:
            for schema_id in plan.schemas:
                self._schemas.keep(schema_id)
            champion, challenger = (self._models.get(name, self._stop) for name in (plan.champion, plan.challenger))
            tables = merchant_risk_source.load(self._risk_tables.folder, plan.merchant_risk_tables)
            rates = self._exchange_rates.log.rates(plan.currency, plan.exchange_rates)
        except (ValueError, FileNotFoundError, LookupError, UnknownSchemaError) as error:
            raise OperatorError(
                f"the micro-batch that was running when the job ended must be decided by {plan} again, and that is not "
                f"possible: {error}"
            ) from error
        confirmed = Models(champion, challenger, plan.is_confirmed)
        return Serving.of(plan, confirmed, tables, rates, self._settings)

    def _report(self, batch_id: int, records: int, outcomes: list[Outcome], seconds: float) -> None:
        latency_s = time.time() - np.concatenate([lane.ingest_time_ms for lane in outcomes]) / SECOND_MS
        alerts, refused = sum(lane.alerts for lane in outcomes), sum((lane.refused for lane in outcomes), Counter())
        ignored = sum((lane.ignored for lane in outcomes), Counter())
        without_rate = sum((lane.without_rate for lane in outcomes), Counter())
        seconds_to_score = max(lane.seconds_to_score for lane in outcomes)
        metrics.TRANSACTIONS.inc(records)
        metrics.PREDICTIONS.inc(len(latency_s))
        metrics.ALERTS.inc(alerts)
        for kind, count in refused.items():
            metrics.DEAD_LETTERS.labels(kind).inc(count)
        for name, count in ignored.items():
            metrics.IGNORED_FIELDS.labels(name).inc(count)
        metrics.REPEATS.inc(sum(lane.repeats for lane in outcomes))
        metrics.FOREIGN_KEYS.inc(sum(lane.foreign_keys for lane in outcomes))
        for currency, count in without_rate.items():
            # Of the codes that ISO does not list there could be thousands.
            metrics.WITHOUT_RATE.labels(currency if is_listed(currency) else "other").inc(count)
        metrics.LATENCY.observe(latency_s)
        metrics.BATCH_SECONDS.observe(seconds)
        metrics.STAGE_SECONDS.labels("score").inc(seconds_to_score)
        metrics.STAGE_SECONDS.labels("deliver").inc(seconds - seconds_to_score)
        metrics.LAST_BATCH.set(batch_id)
        metrics.LAST_BATCH_TIME.set(time.time())
        if len(latency_s):
            metrics.LAST_LATENCY.set(np.median(latency_s))
        log.info(
            "records=%d predictions=%d alerts=%d dead_letters=%d lanes=%d score_ms=%.0f batch_ms=%.0f latency_ms=%.0f",
            records,
            len(latency_s),
            alerts,
            refused.total(),
            len(outcomes),
            seconds_to_score * 1000,
            seconds * 1000,
            np.median(latency_s) * 1000 if len(latency_s) else 0,
        )


def _report_models(models: Models) -> None:
    metrics.MODEL.clear()
    metrics.MODEL_TRAINED_UNTIL.clear()
    for role, served in ((CHAMPION, models.champion), (CHALLENGER, models.challenger)):
        if served is not None:
            metrics.MODEL.labels(role, served.version).set(1)
            metrics.MODEL_TRAINED_UNTIL.labels(role).set(served.model.card.training_window[1] / SECOND_MS)
