"""How far each topic goes, from the brokers: the basis of lag and ledger while the stream is down."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fraud_core.settings import Settings
from fraud_io.errors import OperatorError
from fraud_io.kafka.errors import KafkaUnavailableError
from fraud_io.kafka.reader import TopicReader

_TIMEOUT_S = 2.0
_LABELS = ["role", "topic", "partition"]  # rules go by the role: the name is a setting


class KafkaCollector(Collector):
    """Metrics of one Kafka. Joins no group, reads no record. A topic that is missing has no figures."""

    def __init__(self, settings: Settings) -> None:
        self._committed = TopicReader(settings, _TIMEOUT_S)
        self._written = TopicReader(settings, _TIMEOUT_S, "read_uncommitted")
        self._topics = settings.topics._asdict()

    def collect(self) -> Iterable[Metric]:
        records = CounterMetricFamily("fraud_topic_records", "offsets the partition has ever given out", labels=_LABELS)
        held_back = GaugeMetricFamily(
            "fraud_topic_open_offsets",
            "offsets that nobody reads yet: a transaction before them is open",
            labels=_LABELS,
        )
        is_up = True
        for role, topic in self._topics.items():
            try:
                committed, written = self._committed.bounds(topic), self._written.bounds(topic)
            except KafkaUnavailableError:
                is_up = False
                break
            except OperatorError:
                continue
            for partition, (_, end) in committed.items():
                labels = [role, topic, str(partition)]
                records.add_metric(labels, end)
                held_back.add_metric(labels, written.get(partition, (0, end))[1] - end)
        yield GaugeMetricFamily("fraud_kafka_up", "1 when the brokers answered", value=float(is_up))
        if is_up:
            yield from (records, held_back)
