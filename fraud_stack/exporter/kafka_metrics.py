"""How many records each topic has taken, from the brokers: the basis of lag and ledger while the stream is down."""

from collections.abc import Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fraud_core.settings import Settings
from fraud_io.errors import OperatorError
from fraud_io.kafka_errors import KafkaUnavailableError
from fraud_io.kafka_reader import TopicReader

_TIMEOUT_S = 2.0


class KafkaCollector(Collector):
    """Metrics of one Kafka. Joins no group, reads no record. A topic that is missing has no figures."""

    def __init__(self, settings: Settings, topics: Sequence[str]) -> None:
        self._reader = TopicReader(settings, _TIMEOUT_S)
        self._topics = topics

    def collect(self) -> Iterable[Metric]:
        written = CounterMetricFamily(
            "fraud_topic_records", "records the partition has ever taken", labels=["topic", "partition"]
        )
        is_up = True
        for topic in self._topics:
            try:
                for partition, (_, end) in self._reader.bounds(topic).items():
                    written.add_metric([topic, str(partition)], end)
            except KafkaUnavailableError:
                is_up = False
                break
            except OperatorError:
                continue
        yield GaugeMetricFamily("fraud_kafka_up", "1 when the brokers answered", value=float(is_up))
        if is_up:
            yield written
