"""How many records each topic has taken, from the brokers: the basis of lag and ledger while the stream is down."""

from collections.abc import Iterable, Mapping, Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_TIMEOUT_S = 2.0


class KafkaCollector(Collector):
    """Metrics of one Kafka. ``kafka`` are librdkafka's connection settings. Joins no group, reads no record."""

    def __init__(self, kafka: Mapping[str, str], topics: Sequence[str]) -> None:
        # librdkafka requires a group name; only subscribing would join the group.
        self._consumer = Consumer({**kafka, "group.id": "fraud-exporter"})
        self._topics = topics

    def collect(self) -> Iterable[Metric]:
        written = CounterMetricFamily(
            "fraud_topic_records", "records the partition has ever taken", labels=["topic", "partition"]
        )
        is_up = True
        try:
            known = self._consumer.list_topics(timeout=_TIMEOUT_S).topics
            for topic in self._topics:
                for partition in known[topic].partitions if topic in known else ():
                    _, end = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_TIMEOUT_S)
                    written.add_metric([topic, str(partition)], end)
        except KafkaException:
            is_up = False
        yield GaugeMetricFamily("fraud_kafka_up", "1 when the brokers answered", value=float(is_up))
        if is_up:
            yield written
