"""What the job tells Prometheus. No label ever holds a card, a person or a transaction."""

from collections.abc import Iterable

import numpy as np
from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

READY = Gauge("fraud_stream_ready", "1 once the job is warm and reads the topic")
TRANSACTIONS = Counter("fraud_stream_transactions", "records read from the transactions topic")
PREDICTIONS = Counter("fraud_stream_predictions", "predictions acknowledged by Kafka")
ALERTS = Counter("fraud_stream_alerts", "predictions that flag a transaction")
DEAD_LETTERS = Counter("fraud_stream_dead_letters", "refused records, by kind of reason", ["kind"])
IGNORED_FIELDS = Counter(
    "fraud_stream_ignored_fields", "payments of which an optional field could not be used, by field", ["field"]
)
REPEATS = Counter("fraud_stream_repeats", "payments whose transaction_id their user had sent before")
FOREIGN_KEYS = Counter("fraud_stream_foreign_keys", "payments whose record key is not their user_id, or is missing")
WITHOUT_RATE = Counter(
    "fraud_stream_payments_without_rate", "payments in a currency without an exchange rate, by currency", ["currency"]
)
BATCH_SECONDS = Histogram(
    "fraud_stream_batch_seconds",
    "time from having the records to the last acknowledgement",
    buckets=(0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10),
)
STAGE_SECONDS = Counter("fraud_stream_stage_seconds", "time spent to collect, score and deliver", ["stage"])
LAST_BATCH = Gauge("fraud_stream_last_batch_id", "id of the last finished micro-batch")
LAST_BATCH_TIME = Gauge("fraud_stream_last_batch_time_seconds", "when the last micro-batch ended, Unix time")
LAST_LATENCY = Gauge("fraud_stream_last_batch_latency_seconds", "median latency of the last micro-batch")
LAG = Gauge("fraud_stream_lag", "offsets of a partition that are not scored yet", ["partition"])
SKIPPED = Gauge(
    "fraud_stream_skipped_offsets",
    "offsets of a partition without a record to decide: before the stream's beginning, or left by transactions",
    ["partition"],
)
MODEL = Gauge("fraud_stream_model", "1 for the model versions in use", ["role", "version"])
MODEL_TRAINED_UNTIL = Gauge("fraud_stream_model_trained_until_seconds", "end of the training data, Unix time", ["role"])
REFUSED_MODELS = Counter("fraud_stream_refused_models", "model versions that cannot be served by this code")
REFUSED_MODEL = Gauge(
    "fraud_stream_refused_model", "1 while the registry names a version that is refused", ["role", "version"]
)
REGISTRY_UP = Gauge("fraud_stream_registry_up", "1 when the model registry answered the last time it was asked")
STORE_CALLS = Counter("fraud_stream_store_calls", "calls of the online store", ["result"])
FORGOTTEN = Counter("fraud_stream_forgotten_histories", "histories removed from the online store: long silent cards")
STORE_SECONDS = Histogram(
    "fraud_stream_store_seconds",
    "time of a call of the online store that succeeded",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
)


def report_refused(roles: dict[str, str]) -> None:
    """``roles``: those for which the registry names a version that is refused."""
    REFUSED_MODEL.clear()
    for role, version in roles.items():
        REFUSED_MODEL.labels(role, version).set(1)


class LatencyHistogram(Collector):
    """Seconds from the record time of a transaction to the acknowledgement of its prediction.

    Counts a micro-batch in one step: prometheus_client's Histogram takes a microsecond per observation, which is
    a twentieth of what scoring a transaction costs.
    """

    BOUNDS_S = np.array([0.01, 0.02, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.5, 1, 2, 5, 10, 30, 60, 300])

    def __init__(self) -> None:
        self._counts = np.zeros(len(self.BOUNDS_S) + 1, dtype=np.int64)
        self._sum_s = 0.0

    def observe(self, seconds: np.ndarray) -> None:
        bucket = np.searchsorted(self.BOUNDS_S, seconds, side="left")
        self._counts = self._counts + np.bincount(bucket, minlength=len(self._counts))
        self._sum_s += float(seconds.sum())

    def collect(self) -> Iterable[HistogramMetricFamily]:
        cumulative = np.cumsum(self._counts).tolist()
        names = [*(str(bound) for bound in self.BOUNDS_S.tolist()), "+Inf"]
        yield HistogramMetricFamily(
            "fraud_stream_latency_seconds",
            "record time of the transaction to acknowledgement of its prediction",
            buckets=list(zip(names, cumulative, strict=True)),
            sum_value=self._sum_s,
        )


LATENCY = LatencyHistogram()
REGISTRY.register(LATENCY)
