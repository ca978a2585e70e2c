"""Drift, the parity audit and the drift sensor, on a simulated lake whose decisions were made by the core's functions.

Forty days before the champion was trained, and sixteen after; a real MLflow with SQLite, a real ephemeral Dagster.
"""

import copy
import json
import shutil
from pathlib import Path

import dagster as dg
import mlflow
import numpy as np
import polars as pl
import pytest

from benchmarks.training.data import fill_lake
from fraud_assets.assets.monitoring.parity_audit import sample
from fraud_assets.definitions import build_defs
from fraud_assets.lake.offset_log import OffsetLog, TopicRange
from fraud_assets.registry import Registry
from fraud_assets_tests.assets.conftest import AS_OF_MS, PARTITION
from fraud_assets_tests.assets.fake_kafka import FakeKafka
from fraud_assets_tests.streaming.parts import booster, detector
from fraud_core.decisions.prediction import Anomaly, Decisions, Scored, encode_predictions
from fraud_core.decisions.prediction_table import PREDICTION_COLUMNS, decode_predictions
from fraud_core.features.merchant_risk import MerchantHistory, MerchantRisk, rows_of_table
from fraud_core.features.table import compute_features
from fraud_core.input_files.ecb_rates import ecb_rates
from fraud_core.labels.known import LABEL_COLUMNS
from fraud_core.model.fraud_model import FraudModel, ModelCard
from fraud_core.model.stored import StoredModel
from fraud_core.payments.dead_letter import encode_dead_letter
from fraud_core.payments.transaction import COLUMNS
from fraud_core.settings import Settings
from fraud_core.simulation.simulator import Simulator
from fraud_core.timestamps import DAY_MS
from fraud_io.exchange_rate_log import ExchangeRateLog

pytestmark = pytest.mark.assets

CUSTOMERS, DAYS_BEFORE, DAYS_AFTER = 700, 40, 16
TABLE = "0-000000000000.parquet"


@pytest.fixture(scope="module")
def champion() -> FraudModel:
    window_begins_ms = AS_OF_MS - Settings().training_window_days * DAY_MS
    card = ModelCard(0.5, 0.01, (window_begins_ms, AS_OF_MS - 42 * DAY_MS))
    return FraudModel.with_detector(booster(1), card, detector())


@pytest.fixture(scope="module")
def arrived() -> tuple[pl.DataFrame, pl.DataFrame]:
    """(transactions, labels) as the ingestion writes them, each card in a partition of its own."""
    simulator, trained = Simulator(CUSTOMERS, seed=5), AS_OF_MS // DAY_MS
    days = [simulator.day(day) for day in range(trained - DAYS_BEFORE, trained + DAYS_AFTER)]
    rows = pl.concat(day.transactions for day in days)
    rows = rows.with_columns(
        partition=pl.col("user_id").str.slice(-1).cast(pl.Int32) % 2, ingest_time_ms=pl.col("event_time_ms")
    ).with_columns(offset=pl.int_range(pl.len()).over("partition"))
    labels = pl.concat(day.labels for day in days).sort("label_time_ms")
    labels = labels.with_columns(partition=pl.lit(0, pl.Int32), offset=pl.int_range(pl.len(), dtype=pl.Int64))
    return rows.select(list(COLUMNS)).cast(COLUMNS), labels.select(list(LABEL_COLUMNS))


class Lake:
    """A home with transactions, labels, a champion in Production and what it decided since it was trained."""

    def __init__(
        self, settings: Settings, champion: FraudModel, transactions: pl.DataFrame, labels: pl.DataFrame
    ) -> None:
        self.settings = settings
        with OffsetLog(self.settings.lake / "labels").append(TopicRange({0: 0}, {0: labels.height})) as folder:
            labels.write_parquet(folder / "rows.parquet")
        ends = dict(transactions.group_by("partition").len().iter_rows())
        with OffsetLog(self.settings.lake / "transactions").append(TopicRange(dict.fromkeys(ends, 0), ends)) as folder:
            transactions.write_parquet(folder / "rows.parquet")
        self.register(champion)
        table = MerchantHistory(transactions, labels, 7).table(AS_OF_MS)
        (self.settings.lake / "merchant_risk").mkdir()
        table.write_parquet(self.settings.lake / "merchant_risk" / TABLE)
        self.risk = MerchantRisk({0: rows_of_table(table)})
        log = ExchangeRateLog(self.settings.lake)
        log.begin(ecb_rates())
        self.rates = log.rates(self.settings.currency)
        self.champion = champion
        self.dead_letters: list[str] = []

    def register(self, champion: FraudModel) -> None:
        mlflow.set_tracking_uri(self.settings.mlflow_address)
        mlflow.set_experiment(self.settings.experiment_name)
        registry = Registry(self.settings, "test")
        with mlflow.start_run() as run:
            version = registry.register(StoredModel.of(champion), run.info.run_id, {})
        registry.move(version, "Production", "test")

    def serve(self, transactions: pl.DataFrame) -> pl.DataFrame:
        """PREDICTION_COLUMNS of the days since the training."""
        parts = [
            (part, compute_features(part, None, self.risk, self.rates).values)
            for part in transactions.partition_by("partition", maintain_order=True)
        ]
        return pl.concat(self._decide(part, values) for part, values in parts)

    def _decide(self, rows: pl.DataFrame, values: np.ndarray) -> pl.DataFrame:
        is_new = (rows["event_time_ms"] >= AS_OF_MS).to_numpy()
        rows, values = rows.filter(is_new), values[is_new]
        scored = Scored("1", self.champion.card.threshold, self.champion.score(values))
        anomaly = Anomaly(self.champion.anomaly.score(values), self.champion.anomaly.limit)
        nobody = np.zeros(len(values), dtype=bool)
        decisions = Decisions(scored, None, nobody, 0.005, model_is_confirmed=True, anomaly=anomaly)
        tables = [TABLE] * len(values)
        encoded = encode_predictions(rows, values, decisions, {}, tables, rates_used=self.rates.used_for(rows))
        return decode_predictions(encoded)

    def ingest(self, served: pl.DataFrame) -> None:
        log = OffsetLog(self.settings.lake / "predictions")
        at = sum(log.position().values())
        with log.append(TopicRange({0: at}, {0: at + served.height})) as folder:
            served.select(list(PREDICTION_COLUMNS)).write_parquet(folder / "rows.parquet")

    def materialize(self, instance: dg.DagsterInstance, *assets: str) -> dict[str, dg.AssetMaterialization]:
        kafka = FakeKafka(settings=self.settings, topics={"transactions_dead_letter": self.dead_letters})
        job = build_defs(self.settings, {"kafka": kafka}).resolve_job_def("monitoring")
        keys = [dg.AssetKey(name) for name in assets]
        result = job.execute_in_process(partition_key=PARTITION, asset_selection=keys, instance=instance)
        self.checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
        return {name: result.asset_materializations_for_node(name)[0] for name in assets}

    def failed(self) -> set[str]:
        return {name for name, check in self.checks.items() if not check.passed}


@pytest.fixture(scope="module")
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture(scope="module")
def stable(tmp_path_factory, settings_in, champion, arrived) -> tuple[Lake, pl.DataFrame]:
    """A lake, and what was served of traffic that did not change; not read by it yet."""
    lake = Lake(settings_in(tmp_path_factory.mktemp("stable")), champion, *arrived)
    return lake, lake.serve(arrived[0])


@pytest.fixture(scope="module")
def dear(tmp_path_factory, settings_in, champion, arrived) -> tuple[Lake, dg.DagsterInstance]:
    """Payments cost half as much again from the fifth day after the training on; drift has been looked for."""
    is_later = pl.col("event_time_ms") >= AS_OF_MS + 4 * DAY_MS
    amount = (pl.col("amount_minor") * 1.5).cast(pl.Int64)
    rows = arrived[0].with_columns(amount_minor=pl.when(is_later).then(amount).otherwise("amount_minor"))
    lake = Lake(settings_in(tmp_path_factory.mktemp("dear")), champion, rows, arrived[1])
    lake.ingest(lake.serve(rows))
    with dg.DagsterInstance.ephemeral() as instance:
        lake.found = lake.materialize(instance, "dead_letters", "drift")["drift"].metadata
        yield lake, instance


def watched(stable: tuple[Lake, pl.DataFrame], served: pl.DataFrame, home: Path) -> Lake:
    """Another lake beside the stable one's registry, risk table and history, with ``served`` instead."""
    shutil.copytree(stable[0].settings.home, home, dirs_exist_ok=True)
    lake = copy.copy(stable[0])
    lake.settings = stable[0].settings.model_copy(update={"home": home})
    shutil.rmtree(lake.settings.lake / "predictions", ignore_errors=True)
    lake.ingest(served)
    return lake


def test_dearer_payments_are_seen_and_ask_for_one_training(dear):
    lake, instance = dear
    assert lake.failed() >= {"features_are_stable"}
    assert not lake.failed() & {"no_feature_is_constant", "dead_letters_are_rare"}
    assert "amount" in lake.found["drifting"].value
    assert (lake.found["alarm_since"].value, lake.found["newest_day"].value) == ("2026-03-07", "2026-03-16")

    asked = tick(lake, instance)
    assert [(r.partition_key, r.run_key) for r in asked.run_requests] == [("2026-03-16", "drift-1-2026-03-07")]
    # The alarm goes on, hour by hour, until a champion comes that knows the new prices: it asks for nothing more.
    again = tick(lake, instance, asked.cursor)
    assert not again.run_requests
    assert "the alarm of champion 1 has been answered" in again.skip_message
    # A lost cursor makes the same request, whose key Dagster knows.
    assert tick(lake, instance).run_requests[0].run_key == asked.run_requests[0].run_key


def test_within_seven_days_of_its_last_request_the_sensor_asks_for_nothing(dear):
    of_another = json.dumps({"answered": "0", "asked_on": "2026-03-10"})
    assert "less than 7 days ago" in tick(*dear, of_another).skip_message
    assert tick(*dear, json.dumps({"answered": "0", "asked_on": "2026-03-09"})).run_requests


def test_a_training_as_of_the_alarms_day_is_not_repeated(dear):
    lake, _ = dear
    with dg.DagsterInstance.ephemeral() as instance:
        until = {"as_of": dg.MetadataValue.timestamp((AS_OF_MS + 15 * DAY_MS) / 1000), "labels_until": {"0": 1}}
        instance.report_runless_asset_event(dg.AssetMaterialization("training_set", metadata=until))
        instance.report_runless_asset_event(dg.AssetMaterialization("drift", metadata=lake.found))
        assert "there was a training as of the end of 2026-03-16" in tick(lake, instance).skip_message


def test_a_champion_that_knows_the_new_prices_ends_the_alarm(dear, champion):
    lake, instance = dear
    asked = tick(lake, instance)
    # As of twelve days later, when the four weeks before hold eight days of the new prices.
    moved = tuple(time_ms + 12 * DAY_MS for time_ms in champion.card.training_window)
    lake.register(FraudModel.with_detector(booster(2), ModelCard(0.5, 0.01, moved), detector()))
    metadata = lake.materialize(instance, "drift")["drift"].metadata
    assert metadata["champion"].value == "2"
    assert metadata["reference"].value == "2026-02-14 to 2026-03-13"
    assert metadata["days_judged"].value == 3
    assert metadata["drifting"].value == []
    ended = tick(lake, instance, asked.cursor)
    assert ended.skip_message == "nothing drifts"
    assert json.loads(ended.cursor) == {"answered": None, "asked_on": "2026-03-16"}


def test_stable_traffic_raises_no_alarm_and_the_newest_day_is_not_judged(stable, tmp_path, instance):
    lake = watched(stable, stable[1], tmp_path)
    metadata = lake.materialize(instance, "dead_letters", "drift")["drift"].metadata
    assert lake.failed() == set()
    assert metadata["reference"].value == "2026-02-02 to 2026-03-01"
    assert (metadata["days_judged"].value, metadata["newest_day"].value) == (DAYS_AFTER - 1, "2026-03-16")
    assert metadata["drifting"].value == metadata["constant"].value == []
    assert "data:image/png;base64" in metadata["heat_map"].value


def test_a_broken_feature_and_many_dead_letters_fail_their_checks_and_ask_for_no_training(stable, tmp_path, instance):
    is_later = pl.col("event_time_ms") >= AS_OF_MS + 14 * DAY_MS
    nowhere = {name: pl.when(is_later).then(0.0).otherwise(name) for name in ("distance_km", "implied_speed_kmh")}
    lake = watched(stable, stable[1].with_columns(**nowhere), tmp_path)
    newest_ms = int(stable[1]["ingest_time_ms"].max())
    refused = [encode_dead_letter("transactions", 0, n, newest_ms, "schema", "x", None, b"{}") for n in range(9)]
    lake.dead_letters = [value.decode() for _, value in refused] * 2  # sent twice: one refusal each
    metadata = lake.materialize(instance, "dead_letters", "drift")
    assert metadata["drift"].metadata["constant"].value == ["distance_km", "implied_speed_kmh"]
    assert metadata["dead_letters"].metadata["rows_by_kind"].value == {"schema": 9}
    assert lake.failed() == {"no_feature_is_constant", "dead_letters_are_rare"}
    assert "repair that first" in tick(lake, instance).skip_message


def test_with_no_champion_nothing_is_judged_and_the_sensor_waits(tmp_path, settings_in, arrived):
    settings = settings_in(tmp_path)
    fill_lake(settings, *arrived)
    definitions = build_defs(settings, {"kafka": FakeKafka(settings=settings, topics={})})
    job = definitions.resolve_job_def("monitoring")
    with dg.DagsterInstance.ephemeral() as instance:
        assert "not been computed yet" in evaluate(definitions, settings, instance, None).skip_message
        selected = [dg.AssetKey("drift")]
        assert job.execute_in_process(partition_key=PARTITION, asset_selection=selected, instance=instance).success
        assert evaluate(definitions, settings, instance, None).skip_message == "nothing drifts"


def test_what_was_served_comes_out_again_to_the_bit(stable, tmp_path, instance):
    lake = watched(stable, stable[1], tmp_path)
    metadata = lake.materialize(instance, "parity_audit")["parity_audit"].metadata
    assert lake.failed() == set()
    assert metadata["decisions_audited"].value > 300
    assert metadata["decisions_differing"].value == metadata["decisions_not_audited"].value == 0


def test_a_flipped_bit_of_a_score_and_a_broken_feature_are_found_with_their_ids(stable, tmp_path, instance):
    served = stable[1]
    drawn = sample(watched(stable, served, tmp_path).settings, seed=AS_OF_MS)["transaction_id"].sort()
    bad = drawn[[3, 5]].to_list()
    flipped = served["score"].to_numpy().copy()
    flipped.view(np.int64)[served["transaction_id"].to_numpy() == bad[0]] ^= 1
    broken = pl.when(pl.col("transaction_id") == bad[1]).then(-1.0).otherwise("rolling_avg_7d")
    lake = watched(stable, served.with_columns(score=flipped, rolling_avg_7d=broken), tmp_path)
    metadata = lake.materialize(instance, "parity_audit")["parity_audit"].metadata
    assert lake.failed() == {"served_is_recomputed"}
    assert lake.checks["served_is_recomputed"].metadata["ids"].value == sorted(bad)
    assert metadata["values_differing_by_field"].value == {"rolling_avg_7d": 1, "score": 1}


def test_what_the_lake_has_not_read_yet_or_only_from_the_middle_is_not_compared(stable, tmp_path, instance):
    lake = watched(stable, stable[1], tmp_path)
    all_there = lake.materialize(instance, "parity_audit")["parity_audit"].metadata["decisions_audited"].value
    [file] = (lake.settings.lake / "transactions").rglob("_offsets.json")
    read = json.loads(file.read_text())
    read["end"]["0"] -= 100
    file.write_text(json.dumps(read))
    some = lake.materialize(instance, "parity_audit")["parity_audit"].metadata["decisions_audited"].value
    assert lake.failed() == set()
    assert some < all_there
    # Whose history began before the lake: nothing is audited before a month has passed, which has by then.
    is_first = pl.col("event_time_ms") < AS_OF_MS - 10 * DAY_MS
    rows = pl.read_parquet(file.parent / "rows.parquet")
    rows.filter(~(is_first & (pl.col("partition") == 1))).write_parquet(file.parent / "rows.parquet")
    read["start"]["1"] = 1
    file.write_text(json.dumps(read))
    fewer = lake.materialize(instance, "parity_audit")["parity_audit"].metadata["decisions_audited"].value
    assert lake.failed() == set()
    assert fewer < some


def test_a_model_and_a_table_that_are_gone_are_told(stable, tmp_path, instance):
    gone = stable[1].with_columns(merchant_risk_table=pl.lit("1-gone.parquet"), shadow_model_version=pl.lit("77"))
    lake = watched(stable, gone, tmp_path)
    metadata = lake.materialize(instance, "parity_audit")["parity_audit"].metadata
    assert lake.failed() == {"all_can_be_recomputed"}
    assert set(lake.checks["all_can_be_recomputed"].metadata) == {"77", "1-gone.parquet"}
    assert metadata["decisions_audited"].value == 0


def tick(lake: Lake, instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    return evaluate(build_defs(lake.settings), lake.settings, instance, cursor)


def evaluate(definitions: dg.Definitions, settings: Settings, instance: dg.DagsterInstance, cursor: str | None):
    code = definitions.get_repository_def()
    with dg.build_sensor_context(instance, cursor, repository_def=code, resources={"settings": settings}) as context:
        return code.get_sensor_def("drift_sensor").evaluate_tick(context)
