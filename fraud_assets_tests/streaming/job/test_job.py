"""The job itself, with a real Spark, broker and store: killed, bereft of its store, started again, stopped."""

import os
import re
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import orjson
import polars as pl
import psutil
import pytest
from confluent_kafka import Message, Producer
from prometheus_client.parser import text_string_to_metric_families

from fraud_assets_tests.services import Broker, Job, Valkey, wait_until
from fraud_assets_tests.streaming.parts import messages, payments
from fraud_core.features.merchant_risk import MerchantRisk
from fraud_core.features.table import compute_features
from fraud_core.payments.reader import ReadingRules
from fraud_core.payments.transaction import decode_transactions
from fraud_core.settings import Settings
from fraud_core.topics import DEAD_LETTER, PREDICTIONS, TRANSACTIONS
from fraud_io.exchange_rate_log import ExchangeRateLog
from fraud_io.kafka.producer import make_producer
from fraud_io.kafka.reader import TopicReader
from fraud_stack.exporter.kafka_metrics import KafkaCollector
from fraud_stack.ledger import take_ledger
from fraud_stack.services.ports import free_ports
from streaming.commands.explain import Explainer
from streaming.job import lanes

pytestmark = pytest.mark.streaming

BAD = [b"{", None, b"\xff"]
LARGE = 3 * lanes.LARGE  # what is sent at once may come in two or three micro-batches
READY = "ready to decide partitions of large micro-batches"


class System:
    """Empty topics and an empty store, and the jobs that were started on them."""

    def __init__(self, home: Path, valkey: Valkey, broker: Broker) -> None:
        ports = dict(zip(("spark_ui_port", "metrics_port", "mlflow_port"), free_ports(3), strict=True)) | broker.ports
        self.settings = Settings(home=home, store_url=valkey.url, partitions=2, **ports)
        broker.make_topics_anew(self.settings)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")}
        self.environment = clean | {
            "FRAUD_HOME": str(home),
            "FRAUD_STORE_URL": valkey.url,
            **{f"FRAUD_{name.upper()}": str(port) for name, port in ports.items()},
        }
        self.jobs: list[Job] = []
        self._producer = make_producer(self.settings.confluent_kafka())

    def start_job(self, **own: str) -> Job:
        self.jobs.append(Job(self.settings, self.environment | own))
        return self.jobs[-1]

    def send(self, transactions: pl.DataFrame, producer: Producer | None = None) -> None:
        """``producer``: one with a transaction of its own."""
        producer = producer or self._producer
        sent = zip(transactions["user_id"], transactions["partition"], messages(transactions), strict=True)
        for user, partition, value in sent:
            producer.produce(TRANSACTIONS.default_name, value, user, partition)
        assert producer.flush(60) == 0

    def send_bad(self) -> None:
        for value in BAD:
            self._producer.produce(TRANSACTIONS.default_name, value, "bad", 0)
        self._producer.flush()

    def read(self, topic: str) -> list[Message]:
        return sorted(
            TopicReader(self.settings).read(topic), key=lambda message: (message.partition(), message.offset())
        )

    def metrics(self) -> dict[str, float]:
        """Sums over the partitions."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.settings.metrics_port}/metrics", timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            return {family.name: sum(sample.value for sample in family.samples) for family in families}

    def close(self) -> None:
        for job in self.jobs:
            if job.process.poll() is None:
                job.kill()


@pytest.fixture
def system(tmp_path, valkey, broker) -> Iterator[System]:
    running = System(tmp_path, valkey, broker)
    yield running
    running.close()


def test_a_killed_job_whose_store_is_wiped_loses_nothing_and_decides_nothing_twice_differently(system, valkey):
    stream = payments(1500, users=20).with_columns(currency=pl.Series(["EUR", "EUR", "JPY", "USD", "KWD"] * 300))
    few = {"FRAUD_MAX_OFFSETS_PER_TRIGGER": "150"}
    job = system.start_job(**few)
    job.wait_until_ready()

    second = system.start_job(**few)
    assert second.process.wait(timeout=60) == 2
    assert "another streaming job" in second.log.read_text()

    system.send(stream[:500])
    system.send_bad()
    wait_until(lambda: len(system.read(PREDICTIONS.default_name)) >= 500, "the first transactions are not scored")
    system.send(stream[500:1000])
    wait_until(lambda: len(system.read(PREDICTIONS.default_name)) > 500, "the stream stands still")
    job.kill()
    valkey.client.flushdb()

    job = system.start_job(**few)
    system.send(stream[1000:])
    wait_until(lambda: len(decided(system)) == 1500, "not all transactions are scored")
    assert job.stop() == 0
    assert "rebuilding histories" in job.log.read_text()

    ledger = take_ledger(system.settings)
    assert ledger.is_balanced
    assert (ledger.produced, ledger.predicted, ledger.dead_lettered) == (1503, 1500, 3)
    published = [*system.read(PREDICTIONS.default_name), *system.read(DEAD_LETTER.default_name)]
    assert ledger.duplicates_same == len(published) - 1503

    assert served(system) == trained_on(system)
    decisions = [orjson.loads(message.value()) for message in system.read(PREDICTIONS.default_name)]
    names_a_table = {
        (bool(one["features"]["is_foreign_currency"]), bool(one["exchange_rate_table"])) for one in decisions
    }
    assert names_a_table == {(False, False), (True, True)}
    assert 0 < sum(one["rate_missing"] for one in decisions) < len(decisions)
    letters = {letter.value() for letter in system.read(DEAD_LETTER.default_name)}
    assert len(letters) == len(BAD)


def test_producers_that_send_in_transactions_leave_no_gap_in_the_books(system):
    stream = payments(90, users=6)
    producer = make_producer({**system.settings.confluent_kafka(), "transactional.id": "bank"})
    producer.init_transactions(60)
    open_for_long = make_producer({**system.settings.confluent_kafka(), "transactional.id": "slow"})
    open_for_long.init_transactions(60)
    job = system.start_job()
    job.wait_until_ready()

    # What is aborted is in the log, between records that count.
    for part, is_committed in ((stream[:30], True), (stream[:30], False), (stream[30:60], True)):
        producer.begin_transaction()
        system.send(part, producer)
        producer.commit_transaction(60) if is_committed else producer.abort_transaction(60)
    wait_until(lambda: len(system.read(PREDICTIONS.default_name)) == 60, "the committed ones are not decided")

    # The stream waits where a transaction is open, and goes on when it ends. So do the books.
    open_for_long.begin_transaction()
    system.send(stream[60:65], open_for_long)
    system.send(stream[65:90])
    assert take_ledger(system.settings).produced == 60
    assert exported(system, "fraud_topic_open_offsets") == Counter(transactions=30)
    open_for_long.commit_transaction(60)
    wait_until(lambda: len(decided(system)) == 90, "the stream does not go on")

    # Nothing but what was taken back: a micro-batch without a record.
    producer.begin_transaction()
    system.send(stream[:2], producer)
    producer.abort_transaction(60)
    assert exported(system, "fraud_topic_open_offsets").total() == 0
    wait_until(lambda: undecided(system, system.metrics()) == 0, "what is no record is counted as undecided")
    assert job.stop() == 0

    ledger = take_ledger(system.settings)
    assert ledger.is_balanced
    assert (ledger.produced, ledger.predicted, ledger.duplicates) == (90, 90, 0)

    explainer = Explainer(system.settings)
    for name in ("t0", "t59", "t89"):
        (value,) = explainer.served(name)
        assert explainer.explain(value).recomputed == value

    # A job that begins again knows what was no record before it.
    system.start_job().wait_until_ready()
    assert undecided(system, system.metrics()) == 0
    assert served(system) == trained_on(system)


def test_a_setting_that_only_one_of_the_two_kafka_clients_knows_is_refused_with_its_name(system, tmp_path):
    file = tmp_path / "kafka.properties"
    file.write_text("client.id=bank\nbroker.address.family=v4\n")
    job = system.start_job(FRAUD_KAFKA_CLIENT_FILE=str(file))
    assert job.process.wait(timeout=120) == 2
    assert "Spark's Kafka client does not know broker.address.family" in job.log.read_text()
    file.write_text("client.id=bank\nlibrdkafka.broker.address.family=v4\n")
    system.start_job(FRAUD_KAFKA_CLIENT_FILE=str(file)).wait_until_ready()


def test_a_second_process_takes_part_in_large_micro_batches_and_may_die(system):
    stream, shares = payments(4 * LARGE, users=300), []
    job = system.start_job()
    job.wait_until_ready()
    for part in range(4):
        seen = len(job.log.read_text())
        system.send(stream[part * LARGE : (part + 1) * LARGE])
        wait_until(lambda seen=seen: sum(logged(job, "predictions", seen)) >= LARGE, "not all are decided")
        shares.append(max(logged(job, "lanes", seen)))
        if part in (0, 3):
            wait_until(lambda seen=seen: READY in job.log.read_text()[seen:], "the second process is not ready")
        if part == 1:
            [lane] = lane_processes(job)
            lane.kill()
            lane.wait()
    assert shares == [1, 2, 2, 1]
    assert re.search(r"partitions \[\d\] are decided by the job's own process", job.log.read_text())

    [lane] = lane_processes(job)
    assert job.stop() == 0
    assert not lane.is_running()
    assert take_ledger(system.settings).is_balanced
    assert served(system) == trained_on(system)


def undecided(system: System, job: dict[str, float]) -> float:
    """As the rule fraud:undecided:sum has it."""
    records = exported(system, "fraud_topic_records")
    is_decided = records["predictions"] + records["dead_letter"]
    return records["transactions"] - job["fraud_stream_skipped_offsets"] - is_decided


def exported(system: System, name: str) -> Counter[str]:
    """A metric of the exporter by the role of the topic."""
    [metric] = [metric for metric in KafkaCollector(system.settings).collect() if metric.name == name]
    sums: Counter[str] = Counter()
    for sample in metric.samples:
        sums[sample.labels["role"]] += sample.value
    return sums


def logged(job: Job, name: str, seen: int) -> list[int]:
    """``name`` of each micro-batch that the log tells of after its first ``seen`` characters."""
    return [int(number) for number in re.findall(rf"{name}=(\d+)", job.log.read_text()[seen:])]


def lane_processes(job: Job) -> list[psutil.Process]:
    children = psutil.Process(job.process.pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def served(system: System) -> dict[tuple[int, int], list[float]]:
    """Features by partition and offset; each transaction has been decided with the same bytes whenever it was."""
    values = decided(system)
    assert {len(different) for different in values.values()} == {1}
    predictions = [orjson.loads(next(iter(different))) for different in values.values()]
    return {(p["partition"], p["offset"]): list(p["features"].values()) for p in predictions}


def decided(system: System) -> dict[str, set[bytes]]:
    """The different predictions of each transaction."""
    by_id = defaultdict(set)
    for message in system.read(PREDICTIONS.default_name):
        by_id[orjson.loads(message.value())["transaction_id"]].add(message.value())
    return by_id


def trained_on(system: System) -> dict[tuple[int, int], list[float]]:
    """Features as training computes them, from the whole topic at once."""
    everything = system.read(TRANSACTIONS.default_name)
    transactions = decode_transactions(
        [message.value() for message in everything],
        [message.partition() for message in everything],
        [message.offset() for message in everything],
        [message.timestamp()[1] for message in everything],
        ReadingRules(300_000),
    ).transactions
    rates = ExchangeRateLog(system.settings.lake).rates("EUR")
    values = compute_features(transactions, None, MerchantRisk.empty(), rates).values
    return dict(zip(transactions.select("partition", "offset").rows(), values.tolist(), strict=True))
