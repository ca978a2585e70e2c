"""The streaming query: Spark decides what a micro-batch is, and each is scored on the driver (micro_batch)."""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import KafkaException
from py4j.protocol import Py4JError
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from fraud_core.settings import Settings
from fraud_io.errors import OperatorError
from fraud_io.exchange_rate_log import ExchangeRateLog
from fraud_io.folders import Lake
from fraud_io.kafka.admin import make_admin
from fraud_io.kafka.errors import NO_RIGHT, KafkaRefusals
from fraud_io.model_registry import ModelRegistry
from streaming import metrics
from streaming.errors import KafkaRefusedError, StoppedError
from streaming.job import spark
from streaming.job.batch_plan import PLANS, PlanLog
from streaming.job.lag import LagReporter
from streaming.job.micro_batch import MicroBatches
from streaming.job.sink import KafkaSink
from streaming.job.start_check import check_currency, check_partitions, check_topic
from streaming.job.start_rule import decide_start
from streaming.job.warm_up import warm_up
from streaming.models.exchange_rate_source import ExchangeRateSource
from streaming.models.merchant_risk_source import MerchantRiskSource
from streaming.models.model_source import ModelSource
from streaming.state.checkpoint import Checkpoint
from streaming.state.online_store import OnlineStore
from streaming.state.sweep import Sweep

log = logging.getLogger("streaming.job.__main__")

_FIRST_LOOK_S = 60.0
_COMMIT_S = 10.0
_TOPICS_S = 10.0  # how long topics that are being created may be missing
_IDLE = "Waiting for data to arrive"


class StreamingJob:
    """One run of the job. ``stop`` may be set from anywhere: the running micro-batch is finished, then the job ends."""

    def __init__(self, settings: Settings, checkpoint: Checkpoint, stop: threading.Event) -> None:
        self._settings = settings
        self._topics = settings.topics
        self._checkpoint = checkpoint
        self._stop = stop
        self._running = threading.Lock()  # held during a micro-batch
        self._error: Exception | None = None
        self._last_batch: int | None = None
        self._refusals = KafkaRefusals(settings)
        registry = ModelRegistry(settings.mlflow_address, settings.model_name)
        self._models = ModelSource(registry, settings.model_cache, settings.model_poll_s, settings.currency)
        self._risk_tables = MerchantRiskSource(Lake(settings.lake).merchant_risk, settings.model_poll_s)
        rates = ExchangeRateLog(settings.lake)
        self._exchange_rates = ExchangeRateSource(rates, settings.currency, settings.model_poll_s)
        sink = KafkaSink(settings.confluent_kafka(), stop)
        self._batches = MicroBatches(
            settings, checkpoint, self._models, self._risk_tables, self._exchange_rates, sink, stop
        )

    def run(self) -> None:
        """Score until stopped. Raises what ended the stream otherwise."""
        self._wait_for_topics()
        check_topic(self._checkpoint, self._settings)
        check_partitions(self._checkpoint, self._settings.scored_partitions)
        check_currency(self._checkpoint, self._settings.currency)
        store = OnlineStore(self._settings.store_address, "", self._stop)  # of no stream: it reads no position
        store.check_policy()
        self._start = decide_start(self._checkpoint, self._settings)
        last = PlanLog(self._checkpoint.folder / PLANS).last()
        self._exchange_rates.begin(last.exchange_rates if last else None)
        self._exchange_rates.start(self._stop)
        self._risk_tables.look()
        self._risk_tables.start(self._stop)
        self._models.start(self._stop)
        with ThreadPoolExecutor(1) as beside:
            warm = beside.submit(warm_up)  # while the Java machine starts
            session = spark.session(self._settings)
            warm.result()
        try:
            session.range(1).toArrow()
            # The first micro-batch is decided by the model in production, when there is one.
            self._models.has_looked.wait(_FIRST_LOOK_S)
            self._follow(session, store)
        finally:
            metrics.READY.set(0)
            self._batches.close()
            session.stop()

    def _follow(self, session: SparkSession, store: OnlineStore) -> None:
        query = (
            spark.transactions(session, self._settings, self._start)
            .writeStream.queryName("fraud-stream")
            .foreachBatch(self._micro_batch)
            .trigger(processingTime="0 seconds")
            .option("checkpointLocation", str(self._checkpoint.folder))
            .start()
        )
        mine = self._settings.scored_partitions
        LagReporter(self._settings, self._checkpoint, mine).start(self._stop)
        ended = threading.Thread(target=self._await, args=(query,), name="query", daemon=True)
        ended.start()
        # The first micro-batch, which Spark runs for a new checkpoint even without records, loads and compiles a lot.
        while self._last_batch is None and query.status["message"] != _IDLE and not self._stop.wait(0.2):
            pass
        Sweep(self._settings, self._checkpoint, store).start(self._stop)
        metrics.READY.set(1)
        log.info("ready: scoring %s from %s", self._topics.transactions, self._settings.bootstrap_servers)
        self._read_past()
        self._stop.wait()
        self._finish(query)
        ended.join()
        if self._error is not None and not isinstance(self._error, StoppedError):
            raise self._error

    def _read_past(self) -> None:
        """Not before Spark runs the stream: it has no identity until then. Micro-batches wait meanwhile."""
        with self._running:
            try:
                self._batches.read_past()
            except Exception as error:
                self._error = error
                self._stop.set()

    def _micro_batch(self, frame: DataFrame, batch_id: int) -> None:
        with self._running:
            try:
                if self._stop.is_set():
                    raise StoppedError("stopped before a micro-batch")
                began = time.perf_counter()
                records = frame.toArrow()
                metrics.STAGE_SECONDS.labels("collect").inc(time.perf_counter() - began)
                self._batches.score(records, batch_id)
                self._last_batch = batch_id
            except KafkaRefusedError as error:
                may_not_write = error.name in NO_RIGHT
                topics = f"{self._topics.predictions} or {self._topics.dead_letter}"
                self._error = OperatorError(self._refusals.no_right(topics)) if may_not_write else error
                raise
            except Exception as error:
                # Spark passes on its text only; the message to the operator depends on its type.
                self._error = error
                raise

    def _await(self, query: StreamingQuery) -> None:
        """End the job when the stream ends, for whatever reason."""
        try:
            query.awaitTermination()
        except (StreamingQueryException, Py4JError) as error:
            may_not_read = "AuthorizationException" in str(error)
            of_spark = OperatorError(self._refusals.no_right(self._topics.transactions)) if may_not_read else error
            self._error = self._error or of_spark
        finally:
            self._stop.set()

    def _finish(self, query: StreamingQuery) -> None:
        """Stop between two micro-batches: Spark would cut a running one short."""
        with self._running:
            last = self._last_batch
        deadline = time.monotonic() + _COMMIT_S
        while last is not None and not self._checkpoint.is_committed(last) and time.monotonic() < deadline:
            time.sleep(0.01)
        query.stop()

    def _wait_for_topics(self) -> None:
        address = self._settings.bootstrap_servers
        needed = (self._topics.transactions, self._topics.predictions, self._topics.dead_letter)
        refusals = self._refusals
        admin = make_admin(self._settings, refusals, log)
        missing_since = None
        while True:
            admin.poll(0)
            if refusals.at_the_door:
                raise OperatorError(refusals.at_the_door)
            try:
                existing = admin.list_topics(timeout=5.0).topics
                missing = [topic for topic in needed if topic not in existing]
                if not missing:
                    return
                # A topic this user may not see is missing from the list; asked for by name, it is refused.
                known = admin.list_topics(missing[0], timeout=5.0).topics[missing[0]]
                if known.error is not None and known.error.name() in NO_RIGHT:
                    raise OperatorError(refusals.no_right(missing[0]))
                problem = f"it has no topic {', '.join(missing)}"
                missing_since = missing_since or time.monotonic()
                if time.monotonic() - missing_since > _TOPICS_S:
                    raise OperatorError(f"Kafka at {address}: {problem}; create it, or correct the address")
            except KafkaException as error:
                problem = error.args[0].str()
            log.warning("waiting for Kafka at %s: %s", address, problem)
            if self._stop.wait(2.0):
                raise StoppedError("stopped while waiting for Kafka")
