"""A micro-batch that is replayed after a crash decides what it decided before, whatever was promoted meanwhile."""

import threading

import orjson
import polars as pl
import pytest

from fraud_assets_tests.streaming.parts import (
    FolderRegistry,
    ListSink,
    SparkCheckpoint,
    messages,
    payments,
    records,
    risk_table,
)
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS
from fraud_core.topics import DEAD_LETTER, PREDICTIONS
from fraud_io.errors import OperatorError
from fraud_io.exchange_rate_log import ExchangeRateLog
from streaming import metrics
from streaming.errors import StoppedError
from streaming.job.micro_batch import MicroBatches
from streaming.log_lines import add_batch
from streaming.models.exchange_rate_source import ExchangeRateSource
from streaming.models.merchant_risk_source import MerchantRiskSource
from streaming.models.model_source import ModelSource
from streaming.state.checkpoint import Checkpoint

pytestmark = pytest.mark.streaming

STREAM = payments(40, users=3, partitions=1)
FIRST_DAY_MS = STREAM["event_time_ms"][0] // DAY_MS * DAY_MS


class Machine:
    """One job's disk, store and registry, which outlive its processes."""

    def __init__(self, folder, valkey) -> None:
        self.settings = Settings(home=folder, store_url=valkey.url, model_poll_s=0.01)
        self.spark = SparkCheckpoint(self.settings.checkpoint, partitions=1)
        self.registry = FolderRegistry(folder / "registry")
        for version in ("1", "2"):
            self.registry.register(version, seed=int(version))
        self.tables = self.settings.lake / "merchant_risk"
        self.currency = "EUR"
        self.stop = threading.Event()

    def start_job(self) -> tuple[MicroBatches, ListSink]:
        """A new process of the job."""
        models = ModelSource(self.registry, self.settings.model_cache, 0.01, "EUR")
        tables = MerchantRiskSource(self.tables, 0.01)
        rates = ExchangeRateSource(ExchangeRateLog(self.settings.lake), self.currency, 0.01)
        sink = ListSink()
        checkpoint = Checkpoint(self.settings.checkpoint, "transactions")
        batches = MicroBatches(self.settings, checkpoint, models, tables, rates, sink, self.stop)
        models.look()
        tables.look()
        rates.begin(None)
        self.models = models
        return batches, sink

    def score(self, batches: MicroBatches, batch_id: int) -> None:
        """Micro-batches of ten records."""
        self.spark.plan(batch_id, {0: 10 * batch_id + 10})
        batches.score(records(STREAM[10 * batch_id : 10 * batch_id + 10]), batch_id)
        self.spark.commit(batch_id)


@pytest.fixture
def machine(tmp_path, valkey):
    return Machine(tmp_path, valkey)


def versions(sink: ListSink) -> list[tuple[str | None, str | None, str | None]]:
    return [
        (value["model_version"], value["shadow_model_version"], value["merchant_risk_table"])
        for value in (orjson.loads(value) for _, _, value in sink.sent)
    ]


@pytest.mark.parametrize("crash_in", ["send", "flush"])
@pytest.mark.parametrize("batch", [0, 1, 2])
def test_a_replay_after_a_promotion_yields_the_same_bytes(machine, batch, crash_in):
    machine.registry.roles = {"champion": "1"}
    old_table = risk_table(machine.tables, FIRST_DAY_MS, 0.1)
    batches, sink = machine.start_job()
    for batch_id in range(batch):
        machine.score(batches, batch_id)
    sink.sent.clear()
    sink.crash_in = crash_in
    with pytest.raises(KeyboardInterrupt):
        machine.score(batches, batch)
    before = sink.sent

    machine.registry.roles = {"champion": "2", "challenger": "1"}
    new_table = risk_table(machine.tables, FIRST_DAY_MS + 1, 0.9)
    batches, sink = machine.start_job()
    machine.score(batches, batch)
    assert sink.sent == before
    assert set(versions(sink)) == {("1", None, old_table)}

    sink.sent.clear()
    machine.score(batches, batch + 1)
    assert set(versions(sink)) == {("2", "1", new_table)}


def test_the_model_of_a_replay_comes_from_the_cache_while_the_registry_is_down(machine):
    machine.registry.roles = {"champion": "1"}
    batches, sink = machine.start_job()
    sink.crash_in = "flush"
    with pytest.raises(KeyboardInterrupt):
        machine.score(batches, 0)
    before = sink.sent
    machine.registry.is_up = False
    batches, sink = machine.start_job()
    machine.score(batches, 0)
    machine.score(batches, 1)
    assert sink.sent[:10] == before
    assert [version for version, *_ in versions(sink)] == ["1"] * 20


def test_predictions_say_when_the_registry_did_not_confirm_their_model_and_a_replay_says_the_same(machine):
    machine.registry.roles = {"champion": "1"}
    batches, sink = machine.start_job()
    machine.score(batches, 0)
    machine.registry.is_up = False
    machine.models.look()
    sink.crash_in = "flush"
    with pytest.raises(KeyboardInterrupt):
        machine.score(batches, 1)
    before = sink.sent
    assert [orjson.loads(value)["model_is_confirmed"] for _, _, value in before] == [True] * 10 + [False] * 10

    machine.registry.is_up = True
    batches, sink = machine.start_job()
    machine.score(batches, 1)
    assert sink.sent == before[10:]
    machine.score(batches, 2)
    assert [orjson.loads(value)["model_is_confirmed"] for _, _, value in sink.sent[10:]] == [True] * 10


def test_a_replay_refuses_what_it_refused_before_although_the_setting_has_changed(machine):
    arrived_early = STREAM.with_columns(pl.col("ingest_time_ms") - 200_000)
    sent = []
    for tolerance_s in (100, 300):
        machine.settings = machine.settings.model_copy(update={"future_tolerance_s": tolerance_s})
        batches, sink = machine.start_job()
        machine.spark.plan(0, {0: 10})
        batches.score(records(arrived_early[:10]), 0)
        sent.append(sink.sent)
    assert sent[0] == sent[1]
    assert {topic for topic, *_ in sent[0]} == {DEAD_LETTER.default_name}


def test_a_replay_whose_merchant_risk_table_is_gone_is_refused(machine):
    name = risk_table(machine.tables, FIRST_DAY_MS, 0.1)
    batches, sink = machine.start_job()
    sink.crash_in = "flush"
    with pytest.raises(KeyboardInterrupt):
        machine.score(batches, 0)
    (machine.tables / name).unlink()
    batches, _ = machine.start_job()
    with pytest.raises(OperatorError, match=name):
        machine.score(batches, 0)


def test_a_replay_converts_by_the_rates_and_into_the_currency_it_was_decided_with(machine):
    foreign = STREAM.with_columns(currency=pl.lit("JPY"))
    batches, sink = machine.start_job()
    machine.spark.plan(0, {0: 10})
    sink.crash_in = "flush"
    with pytest.raises(KeyboardInterrupt):
        batches.score(records(foreign[:10]), 0)
    before = sink.sent
    ExchangeRateLog(machine.settings.lake).add({"2026-11-30": {"JPY": 1.0}}, 0)
    machine.currency = "USD"
    batches, sink = machine.start_job()
    batches.score(records(foreign[:10]), 0)
    assert sink.sent == before
    decided = [orjson.loads(value) for _, _, value in before]
    assert {(one["exchange_rate_table"] is not None, one["rate_missing"]) for one in decided} == {(True, False)}
    assert [one["amount"] for one in decided] == foreign["amount_minor"][:10].to_list()
    assert all(one["features"]["amount"] < one["amount"] / 100 for one in decided)


def test_payments_without_a_rate_are_decided_say_so_and_are_counted(machine):
    mixed = STREAM[:10].with_columns(currency=pl.Series(["KWD", "EUR"] * 5))
    counted = metrics.WITHOUT_RATE.labels("KWD")._value.get()
    batches, sink = machine.start_job()
    machine.spark.plan(0, {0: 10})
    batches.score(records(mixed), 0)
    decided = [orjson.loads(value) for _, _, value in sink.sent]
    assert [one["rate_missing"] for one in decided] == [True, False] * 5
    assert [one["features"]["is_foreign_currency"] for one in decided] == [1.0, 0.0] * 5
    assert metrics.WITHOUT_RATE.labels("KWD")._value.get() == counted + 5


def test_a_replay_whose_exchange_rates_are_gone_is_refused(machine):
    batches, sink = machine.start_job()
    sink.crash_in = "flush"
    with pytest.raises(KeyboardInterrupt):
        machine.score(batches, 0)
    log = ExchangeRateLog(machine.settings.lake)
    newest = log.tables()[-1].name
    log.path.unlink()
    log.begin({"2026-01-01": {"JPY": 1.0}})
    batches, _ = machine.start_job()
    with pytest.raises(OperatorError, match=f"exchange rate table {newest} is not in"):
        machine.score(batches, 0)


def test_a_promotion_is_taken_up_by_the_next_micro_batch_without_a_restart(machine):
    batches, sink = machine.start_job()
    machine.score(batches, 0)
    machine.registry.roles = {"champion": "2"}
    machine.models.look()
    machine.score(batches, 1)
    assert [version for version, *_ in versions(sink)] == [None] * 10 + ["2"] * 10


def test_what_differs_between_two_attempts_travels_in_headers_only(machine):
    batches, sink = machine.start_job()
    machine.score(batches, 0)
    assert {topic for topic, *_ in sink.sent} == {PREDICTIONS.default_name}
    assert all(list(headers) == ["scored_at"] for headers in sink.headers)
    assert not any(b"scored_at" in value for _, _, value in sink.sent)


def test_bad_records_go_to_the_dead_letters_topic(machine):
    batches, sink = machine.start_job()
    machine.spark.plan(0, {0: 10})
    batches.score(records(STREAM[:10], [b"{"] * 10), 0)
    assert [topic for topic, *_ in sink.sent] == [DEAD_LETTER.default_name] * 10


def test_log_lines_carry_the_batch_and_nothing_of_a_record(machine, caplog):
    names = ("transaction_id", "user_id", "merchant_id")
    private = STREAM[:10].with_columns(pl.format("secret-{}", pl.col(name)).alias(name) for name in names)
    values = messages(private)
    values[3], values[4] = b'{"amount": "secret-', values[4].replace(b'"EUR"', b'"secret-currency"')
    caplog.handler.addFilter(add_batch)
    machine.registry.roles = {"champion": "1"}
    with caplog.at_level("DEBUG", logger="streaming"):
        batches, _ = machine.start_job()
        machine.spark.plan(0, {0: 10})
        batches.score(records(private, values), 0)
    assert "secret" not in caplog.text
    assert {line.batch for line in caplog.records if line.name == "streaming.job.micro_batch"} == {"0"}
    assert "records=10 predictions=8" in caplog.text


def test_no_micro_batch_begins_after_a_stop(machine):
    batches, sink = machine.start_job()
    machine.stop.set()
    with pytest.raises(StoppedError):
        machine.score(batches, 0)
    assert sink.sent == []
