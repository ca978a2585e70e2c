"""Brokers that demand a login over TLS and grant rights one by one: who has them works, who has not is told."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Message

from fraud_assets.assets.ingestion.transactions import read_range
from fraud_assets.lake.offset_log import TopicRange
from fraud_assets.resources import KafkaResource, spark_resource
from fraud_assets_tests.e2e.conftest import ROOT
from fraud_assets_tests.e2e.secured_kafka import BY_CERTIFICATE, secured_kafka
from fraud_assets_tests.services import Job, Valkey, wait_until
from fraud_core.settings import Settings
from fraud_io.errors import OperatorError
from fraud_io.kafka.errors import KafkaUnavailableError
from fraud_io.kafka.reader import TopicReader
from fraud_stack.ledger import take_ledger
from fraud_stack.services.kafka import create_topics
from fraud_stack.services.ports import free_ports

pytestmark = pytest.mark.e2e

KEY = "a pseudonym key of enough characters"
RIGHTS = "grant it the rights that docs/operations.md lists"


@dataclass(frozen=True)
class Clients:
    """Settings by user, and what a process of that user needs in its environment."""

    users: dict[str, Settings]
    valkey: Valkey
    ports: dict[str, int]

    def environment(self, user: str, home: Path, **others: str) -> dict[str, str]:
        settings = self.users[user]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")}
        return clean | {
            **(self._with_login(settings) if settings.kafka_username else settings.environment()),
            "FRAUD_HOME": str(home),
            "FRAUD_STORE_URL": self.valkey.url,
            **{f"FRAUD_{name.upper()}": str(port) for name, port in self.ports.items()},
            **others,
        }

    def _with_login(self, settings: Settings) -> dict[str, str]:
        """As docs/operations.md has it."""
        return {
            "FRAUD_KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
            "FRAUD_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "FRAUD_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "FRAUD_KAFKA_USERNAME": settings.kafka_username,
            "FRAUD_KAFKA_PASSWORD": settings.kafka_password.get_secret_value(),
            "FRAUD_KAFKA_CA_FILE": str(settings.kafka_ca_file),
        }

    def produce(self, user: str, home: Path, **others: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "streaming.commands.simulate", "live", "--rate", "200", "--minutes", "0.2"]
        environment = self.environment(user, home, **others)
        return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    kafka, controller, tls, mlflow, spark_ui, metrics = free_ports(6)
    ports = {"mlflow_port": mlflow, "spark_ui_port": spark_ui, "metrics_port": metrics}
    valkey = Valkey(tmp_path_factory.mktemp("valkey"))
    broker = {"kafka_port": kafka, "kafka_controller_port": controller, "kafka_tls_port": tls}
    try:
        with secured_kafka(tmp_path_factory.mktemp("kafka"), broker) as users:
            yield Clients(users, valkey, ports)
    finally:
        valkey.kill()


@pytest.mark.parametrize("user", ["fraud", BY_CERTIFICATE])
def test_producer_job_and_dagster_work_with_the_same_settings_and_no_id_of_a_card_leaves_the_edge(
    clients, tmp_path, user
):
    settings = clients.users[user].model_copy(update=clients.ports | {"home": tmp_path})
    clients.valkey.client.flushdb()
    # Partitions by name: that is how one of several jobs reads its share.
    job = Job(settings, clients.environment(user, tmp_path, FRAUD_STREAM_PARTITIONS="0,1", FRAUD_START_FROM="earliest"))
    try:
        produced = clients.produce(user, tmp_path, FRAUD_PSEUDONYM_KEY=KEY)
        assert produced.returncode == 0, produced.stdout + produced.stderr
        sent = everything(settings, settings.topics.transactions)
        assert len(sent) > 100
        job.wait_until_ready()
        wait_until(
            lambda: len(everything(settings, settings.topics.predictions)) == len(sent), "not all payments are decided"
        )
        assert take_ledger(settings).is_balanced
        assert job.stop() == 0
    finally:
        if job.process.poll() is None:
            job.kill()

    payments = [orjson.loads(message.value()) for message in sent]
    assert {len(payment["user_id"]) for payment in payments} == {43}
    assert {message.key().decode() for message in sent} == {payment["user_id"] for payment in payments}

    kafka = KafkaResource(settings=settings)
    first, end = kafka.offsets(settings.topics.transactions)
    assert [message.value() for message in kafka.messages(settings.topics.transactions, TopicRange(first, end))] == [
        message.value() for message in sent
    ]
    spark = spark_resource(settings)
    counts = read_range(spark, settings, TopicRange(first, end), tmp_path / "read")
    spark.spark_session.stop()
    assert counts == {"accepted": len(sent), "refused": 0}


def test_a_user_without_rights_is_told_what_to_do_by_each_of_them(clients, tmp_path):
    stranger = clients.users["stranger"]
    produced = clients.produce("stranger", tmp_path)
    assert produced.returncode == 1
    assert f"does not let stranger use the topic {stranger.topics.transactions}: {RIGHTS}" in produced.stderr

    job = Job(stranger.model_copy(update=clients.ports | {"home": tmp_path}), clients.environment("stranger", tmp_path))
    assert job.process.wait(timeout=120) == 2
    assert f"does not let stranger use the topic {stranger.topics.transactions}: {RIGHTS}" in job.log.read_text()

    with pytest.raises(OperatorError, match=RIGHTS):
        KafkaResource(settings=stranger).offsets(stranger.topics.transactions)
    with pytest.raises(OperatorError, match=RIGHTS):
        create_topics(stranger)
    with pytest.raises(OperatorError, match=RIGHTS):
        take_ledger(stranger)


@pytest.mark.parametrize(
    ("wrong", "setting"),
    [
        ({"kafka_password": "wrong"}, "FRAUD_KAFKA_PASSWORD"),
        ({"kafka_ca_file": None}, "FRAUD_KAFKA_CA_FILE"),
    ],
)
def test_a_wrong_password_and_an_unknown_authority_are_told_apart(clients, wrong, setting):
    settings = Settings(**clients.users["fraud"].model_dump() | wrong)
    with pytest.raises(KafkaUnavailableError, match=setting):
        KafkaResource(settings=settings, timeout_s=2.0).offsets(settings.topics.transactions)


def everything(settings: Settings, topic: str) -> list[Message]:
    return sorted(TopicReader(settings).read(topic), key=lambda message: (message.partition(), message.offset()))
