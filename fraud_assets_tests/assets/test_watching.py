"""Drift, the parity audit and the drift sensor, on a simulated lake whose decisions were made by the core's functions.

Forty days before the champion was trained, and twelve after; a real MLflow with SQLite, a real ephemeral Dagster.
"""

import json
from pathlib import Path

import dagster as dg
import mlflow
import numpy as np
import polars as pl
import pytest

from fraud_assets.definitions import build_defs
from fraud_assets.io_managers import StoredModel
from fraud_assets.offset_log import OffsetLog, OffsetRange
from fraud_assets.registry import Registry
from fraud_assets_tests.assets.conftest import AS_OF_MS, PARTITION, fill_lake, settings_in
from fraud_assets_tests.assets.fake_kafka import FakeKafka
from fraud_assets_tests.streaming.parts import booster, detector
from fraud_core.dead_letter import encode_dead_letter
from fraud_core.features import compute_features
from fraud_core.labels import LABEL_COLUMNS
from fraud_core.merchant_risk import MerchantHistory, MerchantRisk, rows_of_table
from fraud_core.model import FraudModel, ModelCard
from fraud_core.prediction import Anomaly, Decisions, Scored, encode_predictions
from fraud_core.served import SERVED_COLUMNS, decode_predictions
from fraud_core.settings import Settings
from fraud_core.simulation.simulator import Simulator
from fraud_core.timestamps import DAY_MS
from fraud_core.transaction import COLUMNS

pytestmark = pytest.mark.assets

CUSTOMERS, DAYS_BEFORE, DAYS_AFTER = 700, 40, 12
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

    def __init__(self, home: Path, champion: FraudModel, transactions: pl.DataFrame, labels: pl.DataFrame) -> None:
        self.settings = settings_in(home)
        with OffsetLog(self.settings.lake / "labels").append(OffsetRange({0: 0}, {0: labels.height})) as folder:
            labels.write_parquet(folder / "rows.parquet")
        ends = dict(transactions.group_by("partition").len().iter_rows())
        with OffsetLog(self.settings.lake / "transactions").append(OffsetRange(dict.fromkeys(ends, 0), ends)) as folder:
            transactions.write_parquet(folder / "rows.parquet")
        self.register(champion)
        table = MerchantHistory(transactions, labels, 7).table(AS_OF_MS)
        (self.settings.lake / "merchant_risk").mkdir()
        table.write_parquet(self.settings.lake / "merchant_risk" / TABLE)
        self.risk = MerchantRisk({0: rows_of_table(table)})
        self.champion = champion
        self.dead_letters: list[str] = []

    def register(self, champion: FraudModel) -> None:
        mlflow.set_tracking_uri(self.settings.mlflow_address)
        if mlflow.get_experiment_by_name(self.settings.experiment_name) is None:
            mlflow.create_experiment(self.settings.experiment_name, str(self.settings.home / "artifacts"))
        mlflow.set_experiment(self.settings.experiment_name)
        registry = Registry(self.settings, "test")
        with mlflow.start_run() as run:
            version = registry.register(StoredModel.of(champion), run.info.run_id, {})
        registry.move(version, "Production", "test")

    def serve(self, transactions: pl.DataFrame) -> pl.DataFrame:
        """SERVED_COLUMNS of the days since the training."""
        parts = [
            (part, compute_features(part, None, self.risk).values)
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
        return decode_predictions(encode_predictions(rows, values, decisions, {}, [TABLE] * len(values)))

    def ingest(self, served: pl.DataFrame) -> None:
        log = OffsetLog(self.settings.lake / "predictions")
        at = sum(log.position().values())
        with log.append(OffsetRange({0: at}, {0: at + served.height})) as folder:
            served.select(list(SERVED_COLUMNS)).write_parquet(folder / "rows.parquet")

    def materialize(self, instance: dg.DagsterInstance, *assets: str) -> dict[str, dg.AssetMaterialization]:
        kafka = FakeKafka(settings=self.settings, topics={"transactions_dead_letter": self.dead_letters})
        job = build_defs(self.settings, {"kafka": kafka}).resolve_job_def("monitoring")
        keys = [dg.AssetKey(name) for name in assets]
        result = job.execute_in_process(partition_key=PARTITION, asset_selection=keys, instance=instance)
        self.checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
        return {name: result.asset_materializations_for_node(name)[0] for name in assets}

    def failed(self) -> set[str]:
        return {name for name, check in self.checks.items() if not check.passed}


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def lake(tmp_path, champion, arrived) -> Lake:
    return Lake(tmp_path, champion, *arrived)


def dearer(transactions: pl.DataFrame, factor: float = 1.5) -> pl.DataFrame:
    """What is paid from the fifth day after the training on costs more."""
    is_later = pl.col("event_time_ms") >= AS_OF_MS + 4 * DAY_MS
    amount = (pl.col("amount_cents") * factor).cast(pl.Int64)
    return transactions.with_columns(amount_cents=pl.when(is_later).then(amount).otherwise("amount_cents"))


def test_stable_traffic_raises_no_alarm_and_the_newest_day_is_not_judged(lake, arrived, instance):
    lake.ingest(lake.serve(arrived[0]))
    metadata = lake.materialize(instance, "dead_letters", "drift")["drift"].metadata
    assert lake.failed() == set()
    assert metadata["reference"].value == "2026-02-02 to 2026-03-01"
    assert (metadata["days_judged"].value, metadata["newest_day"].value) == (DAYS_AFTER - 1, "2026-03-12")
    assert metadata["drifting"].value == metadata["constant"].value == []
    assert "data:image/png;base64" in metadata["heat_map"].value


def test_dearer_payments_are_seen_and_ask_for_one_training(lake, arrived, instance):
    lake.ingest(lake.serve(dearer(arrived[0])))
    metadata = lake.materialize(instance, "dead_letters", "drift")["drift"].metadata
    assert "features_are_stable" in lake.failed()
    assert "no_feature_is_constant" not in lake.failed()
    assert "amount" in metadata["drifting"].value
    assert metadata["alarm_since"].value == "2026-03-07"

    asked = tick(lake, instance)
    assert [(r.partition_key, r.run_key) for r in asked.run_requests] == [("2026-03-12", "drift-1-2026-03-07")]
    # The alarm goes on, hour by hour, until a champion comes that knows the new prices: it asks for nothing more.
    lake.materialize(instance, "drift")
    again = tick(lake, instance, asked.cursor)
    assert not again.run_requests
    assert "the alarm of champion 1 has been answered" in again.skip_message
    # A lost cursor makes the same request, whose key Dagster knows.
    assert tick(lake, instance).run_requests[0].run_key == asked.run_requests[0].run_key


def test_a_champion_of_the_new_prices_ends_the_alarm(tmp_path, arrived, instance, champion):
    transactions = dearer(arrived[0])
    lake = Lake(tmp_path, champion, transactions, arrived[1])
    lake.ingest(lake.serve(transactions))
    lake.materialize(instance, "dead_letters", "drift")
    asked = tick(lake, instance)
    # As of twelve days later, when a reference of the four weeks before it holds the new prices too.
    moved = tuple(time_ms + 12 * DAY_MS for time_ms in champion.card.training_window)
    later = ModelCard(0.5, 0.01, moved)
    lake.register(FraudModel.with_detector(booster(2), later, detector()))
    metadata = lake.materialize(instance, "drift")["drift"].metadata
    assert metadata["champion"].value == "2"
    assert metadata["reference"].value == "2026-02-14 to 2026-03-13"
    assert metadata["drifting"].value == []
    ended = tick(lake, instance, asked.cursor)
    assert ended.skip_message == "nothing drifts"
    assert json.loads(ended.cursor) == {"answered": None, "asked_on": "2026-03-12"}


def test_within_seven_days_of_its_last_request_the_sensor_asks_for_nothing(lake, arrived, instance):
    lake.ingest(lake.serve(dearer(arrived[0])))
    lake.materialize(instance, "dead_letters", "drift")
    of_another = json.dumps({"answered": "0", "asked_on": "2026-03-06"})
    assert "less than 7 days ago" in tick(lake, instance, of_another).skip_message
    assert tick(lake, instance, json.dumps({"answered": "0", "asked_on": "2026-03-05"})).run_requests


def test_a_training_as_of_the_alarms_day_is_not_repeated(lake, arrived, instance):
    lake.ingest(lake.serve(dearer(arrived[0])))
    lake.materialize(instance, "dead_letters", "drift")
    until = {"as_of": dg.MetadataValue.timestamp((AS_OF_MS + 11 * DAY_MS) / 1000), "labels_until": {"0": 1}}
    instance.report_runless_asset_event(dg.AssetMaterialization("training_set", metadata=until))
    assert "there was a training as of the end of 2026-03-12" in tick(lake, instance).skip_message


def test_a_feature_gone_constant_is_an_error_to_repair_and_asks_for_no_training(lake, arrived, instance):
    is_later = pl.col("event_time_ms") >= AS_OF_MS + 10 * DAY_MS
    nowhere = {name: pl.when(~is_later).then(name) for name in ("latitude", "longitude")}
    lake.ingest(lake.serve(arrived[0].with_columns(**nowhere)))
    metadata = lake.materialize(instance, "dead_letters", "drift")["drift"].metadata
    assert metadata["constant"].value == ["distance_km", "implied_speed_kmh"]
    assert "no_feature_is_constant" in lake.failed()
    assert "repair that first" in tick(lake, instance).skip_message


def test_many_dead_letters_on_the_newest_day_fail_their_check(lake, arrived, instance):
    lake.ingest(lake.serve(arrived[0]))
    newest_ms = int(arrived[0]["event_time_ms"].max())
    refused = [
        encode_dead_letter("transactions", 0, 10**6 + n, newest_ms, "schema", "x", None, b"{}") for n in range(9)
    ]
    lake.dead_letters = [value.decode() for _, value in refused] * 2  # sent twice: one refusal each
    metadata = lake.materialize(instance, "dead_letters", "drift")
    assert metadata["dead_letters"].metadata["rows_by_kind"].value == {"schema": 9}
    assert lake.failed() == {"dead_letters_are_rare"}


def test_with_no_champion_nothing_is_judged_and_the_sensor_waits(tmp_path, arrived, instance):
    settings = settings_in(tmp_path)
    fill_lake(settings, arrived[0], arrived[1])
    kafka = FakeKafka(settings=settings, topics={})
    definitions = build_defs(settings, {"kafka": kafka})
    assert "not been looked for yet" in evaluate(definitions, settings, instance, None).skip_message
    job = definitions.resolve_job_def("monitoring")
    assert job.execute_in_process(
        partition_key=PARTITION, asset_selection=[dg.AssetKey("drift")], instance=instance
    ).success
    assert evaluate(definitions, settings, instance, None).skip_message == "nothing drifts"


def test_what_was_served_comes_out_again_to_the_bit(lake, arrived, instance):
    lake.ingest(lake.serve(arrived[0]))
    metadata = lake.materialize(instance, "parity_audit")["parity_audit"].metadata
    assert lake.failed() == set()
    assert metadata["decisions_audited"].value > 300
    assert metadata["decisions_differing"].value == metadata["decisions_not_audited"].value == 0


def test_a_flipped_bit_of_a_score_and_a_broken_feature_are_found_with_their_ids(lake, arrived, instance, monkeypatch):
    monkeypatch.setattr("fraud_assets.assets.parity_audit.CARDS", CUSTOMERS)
    served = lake.serve(arrived[0])
    newest = served.filter(pl.col("event_time_ms") > served["event_time_ms"].max() - DAY_MS)["transaction_id"]
    bad = newest[[3, 5]].to_list()
    is_bad = pl.col("transaction_id").is_in(bad)
    flipped = served["score"].to_numpy().copy()
    flipped.view(np.int64)[served["transaction_id"].to_numpy() == bad[0]] ^= 1
    broken = pl.when(is_bad & (pl.col("transaction_id") == bad[1])).then(0.0).otherwise("rolling_avg_7d")
    lake.ingest(served.with_columns(score=flipped, rolling_avg_7d=broken))
    metadata = lake.materialize(instance, "parity_audit")["parity_audit"].metadata
    assert lake.failed() == {"served_is_recomputed"}
    assert lake.checks["served_is_recomputed"].metadata["ids"].value == sorted(bad)
    assert metadata["values_differing_by_field"].value == {"rolling_avg_7d": 1, "score": 1}


def test_what_the_lake_has_not_read_yet_or_only_from_the_middle_is_not_compared(lake, arrived, instance):
    lake.ingest(lake.serve(arrived[0]))
    [file] = (lake.settings.lake / "transactions").rglob("_offsets.json")
    ranges = json.loads(file.read_text())
    file.write_text(
        json.dumps({"start": {"0": 0, "1": 7}, "end": {"0": ranges["end"]["0"] - 10, "1": ranges["end"]["1"]}})
    )
    metadata = lake.materialize(instance, "parity_audit")["parity_audit"].metadata
    assert lake.failed() == set()
    assert metadata["decisions_audited"].value > 100


def test_a_model_and_a_table_that_are_gone_are_told(lake, arrived, instance):
    gone = lake.serve(arrived[0]).with_columns(merchant_risk_table=pl.lit("1-gone.parquet"))
    lake.ingest(gone.with_columns(shadow_model_version=pl.lit("77")))
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
