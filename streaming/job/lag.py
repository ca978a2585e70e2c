"""How many records of each partition are not scored yet, from the checkpoint and the broker."""

import logging
import threading

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streaming import metrics
from streaming.state.checkpoint import Checkpoint

log = logging.getLogger(__name__)

_EVERY_S = 2.0
_TIMEOUT_S = 5.0


class LagReporter:
    """Sets metrics.LAG every few seconds; a broker that does not answer leaves the last values."""

    def __init__(self, kafka: dict[str, str], checkpoint: Checkpoint, mine: frozenset[int] | None) -> None:
        """mine : the partitions to look at; None for all."""
        self._mine = mine
        self._consumer = Consumer({**kafka, "group.id": "fraud-lag"}, logger=log)
        self._checkpoint = checkpoint

    def start(self, stop: threading.Event) -> None:
        threading.Thread(target=self._follow, args=(stop,), name="lag", daemon=True).start()

    def look(self) -> None:
        committed = self._checkpoint.committed_offsets()
        topic = self._checkpoint.topic
        partitions = self._consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic].partitions
        for partition in partitions if self._mine is None else self._mine.intersection(partitions):
            low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_TIMEOUT_S)
            metrics.LAG.labels(partition).set(high - committed.get(partition, low))

    def _follow(self, stop: threading.Event) -> None:
        while not stop.wait(_EVERY_S):
            try:
                self.look()
            except (KafkaException, OSError) as error:
                log.warning("the lag is not known: %s", error)
        self._consumer.close()
