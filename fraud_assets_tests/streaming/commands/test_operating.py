"""What an operator does and what may be wrong, on a real broker: dead letters, explain, ledger, refusals to start."""

import logging
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import orjson
import polars as pl
import pytest
import typer
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from fraud_assets_tests.services import Broker
from fraud_assets_tests.streaming.parts import FolderRegistry, SparkCheckpoint, messages, payments, ranges, records
from fraud_core.input_files.ecb_rates import ecb_rates
from fraud_core.payments.reader import ReadingRules
from fraud_core.settings import Settings
from fraud_core.topics import DEAD_LETTER, PREDICTIONS, TRANSACTIONS
from fraud_io.errors import OperatorError
from fraud_io.exchange_rate_log import ExchangeRateLog
from fraud_io.kafka.producer import make_producer
from fraud_io.kafka.reader import TopicReader
from fraud_stack.ledger import take_ledger
from fraud_stack.services.ports import free_ports
from streaming.commands import command_line, dead_letters, explain
from streaming.commands.explain import Explainer
from streaming.job import start_check
from streaming.job.query import StreamingJob
from streaming.job.scorer import Scorer, Serving
from streaming.job.sink import KafkaSink
from streaming.models.merchant_risk_source import NO_TABLES
from streaming.models.model_source import ModelSource
from streaming.state.checkpoint import Checkpoint
from streaming.state.online_store import OnlineStore

pytestmark = pytest.mark.streaming

BAD = [b"{", None, b'"' + b"x" * 800_000 + b'"']
PAYMENTS = payments(60, users=4).with_columns(
    pl.col("transaction_id").replace("t56", "t52"), currency=pl.Series(["EUR", "JPY", "KWD"] * 20)
)


class Served:
    """Topics whose stream has been scored: 60 payments by two models, three records nobody can read."""

    def __init__(self, home: Path, store_url: str, broker: Broker) -> None:
        mlflow_port, metrics_port = free_ports(2)
        ports = broker.ports | {"mlflow_port": mlflow_port, "metrics_port": metrics_port}
        self.settings = Settings(home=home, partitions=2, **ports)
        broker.make_topics_anew(self.settings)
        self.sasl = broker.sasl
        self.admin = AdminClient(self.settings.confluent_kafka())
        self.producer = make_producer(self.settings.confluent_kafka())
        registry = FolderRegistry(home / "registry")
        registry.register("1", seed=1)
        registry.register("2", seed=2)
        registry.roles = {"champion": "1", "challenger": "2"}
        models = ModelSource(registry, home / "models", 1.0, "EUR")
        models.look()

        bad = PAYMENTS[-3:].with_columns(partition=pl.lit(0, pl.Int64), offset=pl.Series([30, 31, 32]))
        stream = pl.concat([PAYMENTS, bad.select(PAYMENTS.columns)])
        values = [*messages(PAYMENTS), *BAD]
        for row, value in zip(stream.to_dicts(), values, strict=True):
            key, place = row["user_id"], row["partition"]
            self.producer.produce(TRANSACTIONS.default_name, value, key, place)
        self.producer.flush()
        # When they arrived is the broker's word.
        arrived = TopicReader(self.settings).read(TRANSACTIONS.default_name)
        times = {(record.partition(), record.offset()): record.timestamp()[1] for record in arrived}
        places = stream.select("partition", "offset").rows()
        stream = stream.with_columns(ingest_time_ms=pl.Series([times[place] for place in places]))
        scorer = Scorer(OnlineStore(store_url, "served", threading.Event()), TRANSACTIONS.default_name)
        rates = ExchangeRateLog(self.settings.lake)
        rates.begin(ecb_rates())
        serving = Serving(models.current, NO_TABLES, ReadingRules(300_000), exchange_rates=rates.rates("EUR"))
        scored = scorer.score(records(stream, values), ranges({}, {0: 33, 1: 30}), serving)
        sink = KafkaSink(self.settings.confluent_kafka(), threading.Event())
        for _ in range(2):  # a replay of the micro-batch
            sink.send(PREDICTIONS.default_name, scored.predictions, {})
            sink.send(DEAD_LETTER.default_name, scored.dead_letters, {})
            sink.flush()

    def run(self, app: typer.Typer, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command as a process runs it, without seconds of imports."""
        with (
            pytest.MonkeyPatch.context() as patch,
            redirect_stdout(StringIO()) as out,
            redirect_stderr(StringIO()) as err,
            pytest.raises(SystemExit) as ended,
        ):
            for name in [name for name in os.environ if name.startswith("FRAUD_")]:
                patch.delenv(name)
            patch.setenv("FRAUD_HOME", str(self.settings.home))
            patch.setenv("FRAUD_KAFKA_PORT", str(self.settings.kafka_port))
            patch.setenv("FRAUD_MLFLOW_PORT", str(self.settings.mlflow_port))
            patch.setattr(sys, "argv", ["fraud", *arguments])
            command_line.run(app)
        code = ended.value.code or 0
        status, last_words = (1, code) if isinstance(code, str) else (code, "")  # as Python ends a process
        return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue() + last_words)

    def sent_again(self) -> list[tuple[bytes, bytes | None, bytes | None]]:
        reader = TopicReader(self.settings)
        found = reader.read(TRANSACTIONS.default_name, {0: (33, 10**9), 1: (30, 10**9)})
        return [(dict(record.headers())["dead_letter"], record.key(), record.value()) for record in found]


@pytest.fixture(scope="module")
def served(tmp_path_factory, running_valkey, broker) -> Served:
    running_valkey.client.flushdb()
    return Served(tmp_path_factory.mktemp("served"), running_valkey.url, broker)


def test_the_ledger_of_a_replayed_stream_is_balanced_and_counts_what_came_twice(served):
    ledger = take_ledger(served.settings)
    assert ledger.is_balanced
    assert (ledger.produced, ledger.predicted, ledger.dead_lettered, ledger.lost) == (63, 60, 3, 0)
    assert (ledger.duplicates_same, ledger.duplicates_differing) == (63, 0)


def test_a_decision_is_computed_again_to_the_bit_from_the_topic_and_the_models_it_names(served):
    explainer = Explainer(served.settings)
    for name in ("t0", "t30", "t59"):
        (value,) = explainer.served(name)
        assert explainer.explain(value).recomputed == value
    told = served.run(explain.app, "t59")
    assert (told.returncode, told.stderr) == (0, "")
    assert "equal to the bit" in told.stdout
    assert "no prediction of nobody" in served.run(explain.app, "nobody").stderr


def test_both_decisions_on_a_payment_that_was_sent_again_are_computed_again(served):
    explainer = Explainer(served.settings)
    values = explainer.served("t52")
    assert [orjson.loads(value)["is_repeat"] for value in values] == [False, True]
    assert [explainer.explain(value).recomputed for value in values] == values
    assert take_ledger(served.settings).ids_sent_twice == 1


def test_a_decision_that_was_served_otherwise_is_told_from_its_recomputation(served):
    explainer = Explainer(served.settings)
    (value,) = explainer.served("t40")
    other = orjson.loads(value)
    other["features"]["rolling_count_7d"] += 1.0
    explanation = explainer.explain(orjson.dumps(other))
    ((name, shown, recomputed),) = explanation.differences()
    assert (name, shown - recomputed) == ("rolling_count_7d", 1.0)
    with pytest.raises(OperatorError, match="model version 7 is neither in"):
        explainer.explain(orjson.dumps(other | {"model_version": "7"}))
    with pytest.raises(OperatorError, match=r"merchant risk table 9-x\.parquet"):
        explainer.explain(orjson.dumps(other | {"merchant_risk_table": "9-x.parquet"}))


def test_dead_letters_are_listed_once_and_sent_again_once_unless_asked(served, tmp_path):
    listed = served.run(dead_letters.app, "list", "--json", str(tmp_path / "letters.json"))
    assert listed.returncode == 0, listed.stderr
    found = orjson.loads((tmp_path / "letters.json").read_bytes())
    assert (found["count"], found["kinds"]) == (3, {"not JSON": 1, "no value": 1, "schema": 1})
    assert [(letter["offset"], letter["first_bytes"]) for letter in found["letters"]] == [
        (30, "{"), (31, None), (32, None)
    ]  # fmt: skip
    assert served.run(dead_letters.app).stdout == listed.stdout

    assert served.run(dead_letters.app, "replay").returncode == 2
    assert served.run(dead_letters.app, "replay", "--at", "30").returncode == 2
    assert served.sent_again() == []
    key = PAYMENTS["user_id"][-3:].to_list()
    assert served.run(dead_letters.app, "replay", "--reason", "not JSON").returncode == 0
    first = (b"0/30", key[0].encode(), BAD[0])
    assert served.sent_again() == [first]
    assert "1 sent before, 2 sent" in served.run(dead_letters.app, "replay", "--all").stdout
    everything = [first, *((f"0/{31 + i}".encode(), key[1 + i].encode(), BAD[1 + i]) for i in range(2))]
    assert sorted(served.sent_again()) == everything
    assert "0 sent, 0 failed" in served.run(dead_letters.app, "replay", "--all").stdout
    assert served.run(dead_letters.app, "replay", "--at", "0/30", "--again").returncode == 0
    assert sorted(served.sent_again()) == sorted([*everything, first])


@pytest.fixture
def topic(served) -> Iterator[str]:
    """A topic of its own with two partitions, ten records in the first."""
    name = f"topic-{uuid.uuid4().hex}"
    _create(served, name, 2)
    yield name
    served.admin.delete_topics([name])[name].result(10)


def _create(served: Served, name: str, partitions: int) -> None:
    served.admin.create_topics([NewTopic(name, partitions, 1)])[name].result(10)
    for number in range(10):
        served.producer.produce(name, str(number), partition=0)
    served.producer.flush()


def _recreate(served: Served, name: str, partitions: int) -> None:
    served.admin.delete_topics([name])[name].result(10)
    _create(served, name, partitions)


def _scored(folder: Path, topic: str, ends: dict[int, int]) -> Checkpoint:
    spark = SparkCheckpoint(folder, topic=topic)
    spark.plan(0, ends)
    spark.commit(0)
    return Checkpoint(folder, topic)


def _check(served: Served, checkpoint: Checkpoint) -> None:
    start_check.check_topic(checkpoint, served.settings)


def test_a_checkpoint_of_the_topic_is_gone_on_with(served, topic, tmp_path):
    checkpoint = _scored(tmp_path / "checkpoint", topic, {0: 10, 1: 0})
    _check(served, checkpoint)
    _check(served, checkpoint)
    _check(served, Checkpoint(tmp_path / "new", topic))


def test_the_topics_that_the_system_makes_have_the_brokers_time_and_another_is_warned_of(
    served, topic, tmp_path, caplog
):
    made = _scored(tmp_path / "made", TRANSACTIONS.default_name, {0: 3, 1: 0})
    _check(served, made)
    assert "message.timestamp.type" not in caplog.text
    _check(served, _scored(tmp_path / "other", topic, {0: 3, 1: 0}))
    assert (
        f"message.timestamp.type of {topic} is CreateTime: when a payment arrived is what its producer" in caplog.text
    )


def test_a_topic_made_anew_is_refused_also_when_it_has_grown_past_the_checkpoint(served, topic, tmp_path):
    checkpoint = _scored(tmp_path / "checkpoint", topic, {0: 5, 1: 0})
    _check(served, checkpoint)
    _recreate(served, topic, 2)
    with pytest.raises(OperatorError, match="was made anew since the checkpoint"):
        _check(served, checkpoint)


def test_offsets_behind_the_checkpoint_and_missing_partitions_are_refused(served, topic, tmp_path):
    with pytest.raises(OperatorError, match="ends at offset 10, but the checkpoint has been at 11"):
        _check(served, _scored(tmp_path / "behind", topic, {0: 11, 1: 0}))
    with pytest.raises(OperatorError, match="has no partition 2"):
        _check(served, _scored(tmp_path / "fewer", topic, {0: 10, 1: 0, 2: 4}))


def test_records_that_retention_removed_before_they_were_scored_are_refused(served, topic, tmp_path):
    checkpoint = _scored(tmp_path / "checkpoint", topic, {0: 4, 1: 0})
    place = TopicPartition(topic, 0, 4)
    served.admin.delete_records([place])[place].result(10)
    _check(served, checkpoint)
    place.offset = 7
    served.admin.delete_records([place])[place].result(10)
    with pytest.raises(OperatorError, match=r"offsets 4 to 6 of partition 0 of .* were removed by its retention"):
        _check(served, checkpoint)


def test_brokers_that_refuse_the_credentials_are_told_from_brokers_that_are_not_there(served, tmp_path, caplog):
    wrong = Settings(
        home=tmp_path,
        kafka_bootstrap_servers=served.sasl,
        kafka_security_protocol="SASL_PLAINTEXT",
        kafka_sasl_mechanism="PLAIN",
        kafka_username="fraud",
        kafka_password="wrong",
    )
    checkpoint = Checkpoint(tmp_path / "checkpoint", TRANSACTIONS.default_name)
    with caplog.at_level(logging.WARNING), pytest.raises(OperatorError, match="refuses the credentials"):
        StreamingJob(wrong, checkpoint, threading.Event())._wait_for_topics()
    assert "wrong" not in caplog.text
    right = wrong.model_copy(update={"kafka_password": type(wrong.kafka_password)("right")})
    StreamingJob(right, checkpoint, threading.Event())._wait_for_topics()


def test_brokers_without_the_topics_are_refused(served, tmp_path, monkeypatch):
    monkeypatch.setattr("streaming.job.query._TOPICS_S", 0.0)
    checkpoint = Checkpoint(tmp_path / "checkpoint", TRANSACTIONS.default_name)
    with pytest.raises(OperatorError, match="no topic elsewhere"):
        settings = served.settings.model_copy(update={"topic_dead_letter": "elsewhere"})
        StreamingJob(settings, checkpoint, threading.Event())._wait_for_topics()
