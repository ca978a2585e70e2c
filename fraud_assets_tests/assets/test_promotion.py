"""The hour's evidence and what is done with it: served rows and labels in a lake, versions in a real registry."""

import json

import dagster as dg
import numpy as np
import polars as pl
import pytest
import xgboost as xgb

from fraud_assets.definitions import build_defs
from fraud_assets.lake.offset_log import OffsetLog, TopicRange
from fraud_assets.registry import Registry
from fraud_assets_tests.assets.conftest import again, register
from fraud_core.decisions.prediction_table import PREDICTION_COLUMNS
from fraud_core.features.table import FEATURES
from fraud_core.labels.known import LABEL_COLUMNS
from fraud_core.labels.quarantine import Batch
from fraud_core.model.fraud_model import FraudModel, ModelCard
from fraud_core.model.stored import StoredModel
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS
from fraud_io.folders import Lake
from fraud_io.quarantine_log import QuarantineLog

pytestmark = pytest.mark.assets

PARTITION = "2026-03-10"
AS_OF_MS = 20_523 * DAY_MS  # its end
MATURE_MS = AS_OF_MS - 9 * DAY_MS
N, FRAUDS = 3000, 120
ASSETS = ("model_comparison", "champion_quality", "promotion")


@pytest.fixture(scope="module")
def model() -> StoredModel:
    """Flags payments of more than 100."""
    amounts = np.linspace(1, 200, 400)
    values = np.zeros((400, len(FEATURES)))
    values[:, FEATURES.index("amount")] = amounts
    data = xgb.DMatrix(values, amounts > 100, feature_names=list(FEATURES))
    booster = xgb.train({"max_depth": 1, "objective": "binary:logistic"}, data, 20)
    return StoredModel.of(FraudModel(booster, ModelCard(0.5, 0.04, (0, 10))))


class World:
    """A lake and a registry of a test's own. Frauds are payments of 150, others of 50."""

    def __init__(self, settings: Settings, model: StoredModel) -> None:
        self.settings = settings
        self.registry = Registry(self.settings, "a test")
        again(self.registry, register(self.registry, self.settings, model), model)
        self._served = 0

    def serve(
        self, decides: str, recall: float, shadow: str | None = None, shadow_recall: float = 0, ingest_ms: int = 0
    ) -> None:
        """A day of N payments a label delay ago, with their labels; each model flags a share of the frauds."""
        at = np.arange(N) + self._served
        is_fraud = np.arange(N) < FRAUDS
        nobody = np.full(N, None)
        flagged, shadow_flagged = (
            is_fraud & (np.arange(N) % FRAUDS < share * FRAUDS) for share in (recall, shadow_recall)
        )
        columns = {
            "transaction_id": [f"t{number}" for number in at],
            "user_id": [f"u{number}" for number in np.where(is_fraud, at // 3, 10**6 + at % 700)],
            "event_time_ms": MATURE_MS + np.arange(N),
            "ingest_time_ms": ingest_ms,
            "prediction": flagged.astype(np.int8),
            "score": np.where(flagged, 0.9, 0.1),
            "threshold": 0.5,
            "model_version": decides,
            "arm": "champion",
            "model_is_confirmed": True,
            "shadow_model_version": shadow,
            "shadow_score": np.where(shadow_flagged, 0.8, 0.2) if shadow else nobody,
            "shadow_prediction": shadow_flagged.astype(np.int8) if shadow else nobody,
            "is_repeat": False,
            "currency": "EUR",
            "exchange_rate_table": None,
            "rate_missing": False,
            "review_sample": False,
            "review_probability": 0.005,
            "merchant_risk_table": None,
            "partition": 0,
            "offset": at,
            **dict.fromkeys(FEATURES, 0.0),
            "amount": np.where(is_fraud, 150.0, 50.0),
        }
        known = {name: columns.get(name, 0.5) for name in PREDICTION_COLUMNS}
        self._append("predictions", pl.DataFrame(known, schema=PREDICTION_COLUMNS, strict=False))
        self._append(
            "labels",
            pl.DataFrame(
                {
                    "transaction_id": [f"t{number}" for number in at[is_fraud]],
                    "is_fraud": True,
                    "source": "chargeback",
                    "label_time_ms": AS_OF_MS - DAY_MS,
                    "partition": 0,
                    "offset": at[is_fraud],
                },
                schema=LABEL_COLUMNS,
            ),
        )
        self._served += N

    def advance(self) -> None:
        """The stream goes on to the end of the day: a payment nobody knows anything about yet."""
        row = dict.fromkeys(PREDICTION_COLUMNS) | {"transaction_id": "last", "user_id": "u", "event_time_ms": AS_OF_MS}
        self._append("predictions", pl.DataFrame([row], schema=PREDICTION_COLUMNS))
        self._served += 1

    def _append(self, name: str, rows: pl.DataFrame) -> None:
        with OffsetLog(self.settings.lake / name).append(
            TopicRange({0: self._served}, {0: self._served + rows.height})
        ) as folder:
            rows.write_parquet(folder / "rows.parquet")

    def run(self, **changes: object) -> dict[str, dict]:
        """Metadata by asset of one run of the monitoring assets, and the failed checks under "failed"."""
        job = build_defs(self.settings.model_copy(update=changes)).resolve_job_def("monitoring")
        with dg.DagsterInstance.ephemeral() as instance:
            result = job.execute_in_process(
                partition_key=PARTITION,
                asset_selection=[dg.AssetKey(name) for name in ASSETS],
                instance=instance,
                raise_on_error=False,
            )
        found = {
            name: {key: value.value for key, value in result.asset_materializations_for_node(name)[0].metadata.items()}
            for name in ASSETS
            if result.asset_materializations_for_node(name)
        }
        failed = {check.check_name for check in result.get_asset_check_evaluations() if not check.passed}
        return {**found, "failed": failed, "success": result.success}

    def stages(self) -> dict[str, str]:
        return {version: self.registry.stage(version) for version in self.registry.versions()}

    def last_move(self) -> dict:
        return json.loads(Lake(self.settings.lake).promotions.read_text().splitlines()[-2])


@pytest.fixture(scope="module")
def with_mlflow(tmp_path_factory, settings_in) -> Settings:
    return settings_in(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture
def own(with_mlflow, tmp_path, request) -> Settings:
    """A home and a model name of the test's own."""
    return with_mlflow.model_copy(update={"home": tmp_path, "model_name": request.node.name})


@pytest.fixture
def world(own, model) -> World:
    made = World(own, model)
    made.registry.move("1", "Production", "the first")
    made.registry.move("2", "Staging", "passed the offline gate")
    return made


def test_a_better_challenger_takes_over_and_the_log_has_the_evidence(world):
    world.serve("1", 0.5, shadow="2", shadow_recall=0.9)
    world.advance()
    found = world.run()
    assert (found["success"], found["failed"]) == (True, set())
    assert found["model_comparison"]["verdict"] == "promote"
    assert found["promotion"]["done"] == "promoted version 2 in place of 1"
    assert world.stages() == {"1": "Archived", "2": "Production"}
    move = world.last_move()
    assert (move["version"], move["from"], move["to"]) == ("2", "Staging", "Production")
    assert move["who"].startswith("dagster run ")
    assert move["evidence"]["average_precision_gain_low"] > 0
    assert "120 frauds of 40 cards" in move["why"]
    # The next hour finds no challenger, and a champion that has decided nothing yet.
    again = world.run()
    assert (again["success"], again["failed"]) == (True, set())
    assert again["promotion"]["done"] == "nothing: there is no challenger"
    assert world.stages() == {"1": "Archived", "2": "Production"}


def test_a_person_promotes_where_automatic_promotion_is_off(world):
    world.serve("1", 0.5, shadow="2", shadow_recall=0.9)
    world.advance()
    found = world.run(auto_promote=False)
    assert "FRAUD_AUTO_PROMOTE is off" in found["promotion"]["done"]
    assert world.stages() == {"1": "Production", "2": "Staging"}


def test_a_worse_challenger_leaves_staging_and_a_check_warns(world):
    world.serve("1", 0.9, shadow="2", shadow_recall=0.3)
    world.advance()
    found = world.run()
    assert (found["success"], found["failed"]) == (True, {"challenger_is_not_worse"})
    assert world.stages() == {"1": "Production", "2": "Archived"}
    assert world.registry.challenger() is None


def test_while_labels_are_in_quarantine_nothing_is_promoted_and_the_blocking_check_says_why(world):
    world.serve("1", 0.5, shadow="2", shadow_recall=0.9)
    world.advance()
    QuarantineLog(world.settings.lake).hold([Batch("analyst", "2026-03-09", "a flood", 4000, {0: (0, 0)})], "a test")
    found = world.run()
    assert (found["success"], found["failed"]) == (False, {"no_label_is_in_quarantine"})
    assert "promotion" not in found
    assert "analyst/2026-03-09 (a flood)" in found["model_comparison"]["reasons"]
    assert world.stages() == {"1": "Production", "2": "Staging"}


def test_labels_that_are_younger_than_the_label_delay_decide_nothing(world):
    world.serve("1", 0.5, shadow="2", shadow_recall=0.9)  # and the stream has not gone on
    found = world.run()
    assert found["model_comparison"]["verdict"] == "wait"
    assert found["model_comparison"]["pairs_scored"] == N
    assert found["model_comparison"]["pairs"] == 0
    assert world.stages() == {"1": "Production", "2": "Staging"}


def test_each_arm_is_reported_with_intervals_and_money(world):
    world.serve("1", 0.5, shadow="2", shadow_recall=0.9)
    world.serve("2", 0.9, shadow="1", shadow_recall=0.5)
    world.advance()
    arms = {record.data["arm"]: record.data for record in world.run()["model_comparison"]["arms"].records}
    assert {arm: row["caught"] for arm, row in arms.items()} == {"champion": 60, "challenger": 108}
    assert arms["champion"]["money_caught"] == 60 * 150
    assert arms["champion"]["money_missed"] == 60 * 150
    assert arms["challenger"]["recall"].startswith("0.9000 (0.")


@pytest.fixture
def taken_over(world) -> World:
    """Version 2 has replaced version 1, which had found nine of ten frauds."""
    world.serve("1", 0.9, ingest_ms=1)
    world.registry.move("2", "Production", "better")
    return world


def test_a_fresh_champion_that_does_worse_is_rolled_back_once_and_for_all(taken_over):
    world = taken_over
    world.serve("2", 0.2, ingest_ms=world.registry.since_ms("2", "Production"))
    world.advance()
    found = world.run()
    assert (found["success"], found["failed"]) == (True, {"champion_is_not_worse_than_the_one_before"})
    assert found["promotion"]["done"] == "rolled back from version 2 to 1"
    assert world.stages() == {"1": "Production", "2": "Archived"}
    assert world.last_move()["evidence"]["f2_gain_of_going_back_low"] > 0

    # Whatever speaks for it, nothing but a person brings it back: two versions must not take turns.
    world.registry.move("2", "Staging", "tried again")
    world.serve("1", 0.3, shadow="2", shadow_recall=0.9, ingest_ms=world.registry.since_ms("1", "Production"))
    again = world.run()
    assert again["model_comparison"]["verdict"] == "promote"
    assert again["promotion"]["done"] == "nothing: version 2 was rolled back once, a person may promote it"
    assert world.stages() == {"1": "Production", "2": "Staging"}


def test_a_fresh_champion_that_does_as_well_stays(taken_over):
    world = taken_over
    world.serve("2", 0.9, ingest_ms=world.registry.since_ms("2", "Production"))
    world.advance()
    found = world.run()
    assert (found["success"], found["failed"]) == (True, set())
    assert found["champion_quality"]["verdict"] == "wait"
    assert world.stages() == {"1": "Archived", "2": "Production"}


def test_before_the_first_prediction_there_is_nothing_to_judge(own, model):
    world = World(own, model)
    found = world.run()
    assert (found["success"], found["failed"]) == (True, set())
    assert found["promotion"]["done"] == "nothing: there is no champion"
