"""A real broker that can stand still, and topics of its own for each test."""

import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from fraud_assets_tests.streaming.conftest import Broker, free_port
from fraud_core.settings import Settings


class Kafka:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._broker = Broker(settings)
        self._admin = AdminClient(settings.confluent_kafka())

    def topic(self, partitions: int = 2) -> str:
        name = f"topic-{uuid.uuid4().hex}"
        self._admin.create_topics([NewTopic(name, partitions, 1)])[name].result(10)
        return name

    def remove_records(self, topic: str, partition: int, before: int) -> None:
        """As retention does it."""
        place = TopicPartition(topic, partition, before)
        self._admin.delete_records([place])[place].result(10)

    @contextmanager
    def standing_still(self) -> Iterator[Callable[[], None]]:
        """Gives what stops the broker, with its connections open. It goes on when the block ends."""
        process = self._broker._process
        try:
            yield lambda: process.send_signal(signal.SIGSTOP)
        finally:
            process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._broker.kill()


@pytest.fixture(scope="package")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    ports = {"kafka_port": free_port(), "kafka_controller_port": free_port()}
    running = Kafka(Settings(home=tmp_path_factory.mktemp("kafka"), **ports))
    yield running
    running.kill()
