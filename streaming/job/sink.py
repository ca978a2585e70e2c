"""Writes to Kafka: idempotent, acknowledged by all replicas, nothing lost silently."""

import logging
import threading
from collections.abc import Iterable

from confluent_kafka import KafkaError, KafkaException, Message

from fraud_io.kafka.producer import make_producer
from streaming.errors import StoppedError

log = logging.getLogger(__name__)

_REPORT_S = 5.0


class KafkaSink:
    """Sends records; ``flush`` returns once Kafka has acknowledged them all. An unreachable broker is waited for."""

    def __init__(self, kafka: dict[str, str], stop: threading.Event) -> None:
        self._producer = make_producer(
            {
                **kafka,
                "linger.ms": 1,
                "message.timeout.ms": 0,  # no limit: waiting is visible in the log and a stop ends it
                "queue.buffering.max.messages": 1_000_000,
                # A callback per record would cost as much as scoring it; only failures are of interest.
                "delivery.report.only.error": True,
                "on_delivery": self._delivered,
            },
            log,
        )
        self._stop = stop
        self._failures: list[tuple[KafkaError, Message]] = []

    def send(self, topic: str, records: Iterable[tuple[bytes | None, bytes]], headers: dict[str, str]) -> None:
        """Queue records (key, value), all with the same headers, without waiting for them."""
        produce = self._producer.produce
        all_headers: list[tuple[str, str | bytes | None]] = list(headers.items())
        for key, value in records:
            try:
                produce(topic, value, key, headers=all_headers)
            except BufferError:
                self.flush()
                produce(topic, value, key, headers=all_headers)

    def flush(self) -> None:
        """Wait until everything is acknowledged. Raises KafkaException when Kafka refused a record."""
        while waiting := self._producer.flush(_REPORT_S):
            log.warning("waiting for Kafka to acknowledge %d records", waiting)
            if self._stop.is_set():
                raise StoppedError("stopped while waiting for Kafka")
        if self._failures:
            failures, self._failures = self._failures, []
            raise KafkaException(failures[0][0])

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append((error, message))
