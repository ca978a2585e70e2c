"""The assets from merchant_risk on, run as Dagster runs them, with a real MLflow."""

import json

import mlflow
import polars as pl
import pytest
from mlflow import MlflowClient
from sklearn.metrics import average_precision_score
from xgboost import Booster

from fraud_assets.commands.reproduce import NotReproducibleError, compare
from fraud_assets.lake.offset_log import OffsetLog, TopicRange
from fraud_assets_tests.assets.conftest import PARTITION
from fraud_core.features.merchant_risk import KEPT_TABLES, RISK_COLUMNS
from fraud_core.features.table import FEATURES
from fraud_core.labels.quarantine import Batch
from fraud_core.model.fraud_model import FraudModel, ModelCard
from fraud_core.settings import Settings
from fraud_core.training.recipe import grow_trees, raw_scores
from fraud_io.folders import Lake
from fraud_io.quarantine_log import QuarantineLog

pytestmark = pytest.mark.assets

TRAINING = (
    "merchant_risk",
    "training_set",
    "balanced_training_set",
    "tuned_model",
    "score_calibration",
    "decision_threshold",
)
REGISTRY = ("evaluation", "registered_model", "production_model")


@pytest.fixture(scope="module")
def first(materialize):
    result = materialize(*TRAINING, *REGISTRY)
    assert result.success
    return result


@pytest.fixture(scope="module")
def second(first, materialize):
    """The same model again, now beside a champion."""
    result = materialize(*REGISTRY)
    assert result.success
    return result


@pytest.fixture(scope="module")
def client(materialize) -> MlflowClient:
    return MlflowClient(materialize.settings.mlflow_address)


def promotions(settings: Settings) -> list[dict]:
    return [json.loads(line) for line in Lake(settings.lake).promotions.read_text().splitlines()]


def test_the_first_model_goes_through_staging_to_production_and_the_second_waits_in_staging(
    first, second, client, materialize
):
    settings = materialize.settings
    stages = {v.version: v.current_stage for v in client.search_model_versions(f"name = '{settings.model_name}'")}
    assert stages == {1: "Production", 2: "Staging"}
    aliases = client.get_registered_model(settings.model_name).aliases
    assert {alias: int(version) for alias, version in aliases.items()} == {"champion": 1, "challenger": 2}
    moves = [(int(entry["version"]), entry["from"], entry["to"]) for entry in promotions(settings)]
    assert moves == [(1, "None", "Staging"), (1, "Staging", "Production"), (2, "None", "Staging")]
    assert {entry["who"] for entry in promotions(settings)} == {f"dagster run {r.run_id}" for r in (first, second)}
    assert all(entry["why"] and entry["at"].endswith("Z") for entry in promotions(settings))


def test_the_second_model_was_compared_with_the_champion_on_the_same_rows(second):
    metadata = second.asset_materializations_for_node("evaluation")[0].metadata
    assert metadata["compared_with"].value == "version 1"


def test_a_dagster_run_is_one_mlflow_run_that_says_where_everything_came_from(first, client, materialize, simulated):
    experiment = client.get_experiment_by_name(materialize.settings.experiment_name)
    [run] = client.search_runs([experiment.experiment_id], f"tags.dagster_run_id = '{first.run_id}'")
    assert run.info.status == "FINISHED"
    assert run.data.tags["dagster_partition"] == PARTITION
    assert run.data.tags["kafka_transactions"] == f"0: 0..{len(simulated[0])}"
    assert {dataset.dataset.name for dataset in run.inputs.dataset_inputs} == {"training_set", "balanced_training_set"}
    assert run.data.params.keys() >= {"smote_ratio", "max_depth", "threshold"}
    assert run.data.metrics.keys() >= {
        *(f"test_{name}" for name in ("average_precision", "roc_auc", "f2", "precision", "recall")),
        *(f"test_{name}" for name in ("true_positives", "false_positives", "false_negatives", "true_negatives")),
        "test_card_precision_100",
        "validation_average_precision",
    }
    assert {file.path for file in client.list_artifacts(run.info.run_id, "plots")} == {
        "plots/calibration_curve.png",
        "plots/confusion_matrix.png",
        "plots/f2_against_threshold.png",
        "plots/feature_importance.png",
        "plots/precision_recall.png",
        "plots/score_distribution.png",
    }


def test_a_client_can_serve_the_champion_from_the_registry_alone(first, materialize):
    path = mlflow.artifacts.download_artifacts(f"models:/{materialize.settings.model_name}@champion")
    description = mlflow.models.Model.load(path)
    booster = mlflow.xgboost.load_model(path)
    card = ModelCard.from_dict(description.metadata)
    test = pl.read_parquet(materialize.settings.lake / "training_set" / f"{PARTITION}.parquet").filter(split="test")
    scores = FraudModel(booster, card).score(test.select(FEATURES).to_numpy())
    kept = json.loads((materialize.settings.lake / "decision_threshold" / f"{PARTITION}.json").read_text())
    assert card.threshold == kept["value"]
    assert description.flavors["xgboost"]["model_format"] == "ubj"
    flagged = test["is_fraud"].to_numpy()[scores >= card.threshold]
    evaluated = first.asset_materializations_for_node("evaluation")[0].metadata
    assert flagged.mean() == evaluated["test_precision"].value


def test_the_hours_before_the_as_of_time_have_one_risk_table_each_and_a_second_run_changes_none(first, materialize):
    folder = materialize.settings.lake / "merchant_risk"
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert materialize("merchant_risk").success
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    times = [int(path.name.partition("-")[0]) for path in before]
    assert len(times) == len(set(times)) == KEPT_TABLES
    assert pl.read_parquet(next(iter(before))).schema == pl.Schema(RISK_COLUMNS)


def test_the_evaluation_says_what_smote_brought_on_validation(first, materialize):
    lake, metadata = materialize.settings.lake, first.asset_materializations_for_node("evaluation")[0].metadata
    validation = pl.read_parquet(lake / "training_set" / f"{PARTITION}.parquet").filter(split="validation")
    real = pl.read_parquet(lake / "balanced_training_set" / f"{PARTITION}.parquet").filter(~pl.col("is_synthetic"))
    kept = lake / "tuned_model" / PARTITION
    card = ModelCard.from_dict(json.loads((kept / "card.json").read_text()))
    trees = {
        "with": Booster(model_file=kept / "model.ubj"),
        "without": grow_trees(real, card.params, materialize.settings),
    }
    precision = {
        smote: average_precision_score(validation["is_fraud"], raw_scores(FraudModel(booster, card), validation))
        for smote, booster in trees.items()
    }
    gain = metadata["validation_average_precision_gain_of_smote"].value
    assert gain == pytest.approx(precision["with"] - precision["without"], abs=1e-12)


@pytest.fixture
def run_id(first, client, materialize) -> str:
    experiment = client.get_experiment_by_name(materialize.settings.experiment_name)
    [run] = client.search_runs([experiment.experiment_id], f"tags.dagster_run_id = '{first.run_id}'")
    return run.info.run_id


def test_a_logged_run_reproduces_to_the_bit(run_id, materialize):
    compared = {name: logged == now for name, logged, now in compare(mlflow.get_run(run_id), materialize.settings)}
    assert compared == dict.fromkeys(
        (
            "training set",
            "balanced training set",
            "trees and anomaly detector",
            "calibration",
            "threshold",
            "test metrics",
        ),
        True,
    )


def test_what_came_after_the_run_changes_nothing_and_rows_that_are_gone_are_told(run_id, materialize, simulated):
    flood = Batch("chargeback", "2026-02-01", "held after the run", 1_000, {0: (0, 1_000)})
    QuarantineLog(materialize.settings.lake).hold([flood], "a later run")
    log, count = OffsetLog(materialize.settings.lake / "labels"), len(simulated[1])
    with log.append(TopicRange({0: count}, {0: count + 1})) as folder:
        late = simulated[1].head(1).with_columns(offset=pl.lit(count, pl.Int64), is_fraud=~pl.col("is_fraud"))
        late.write_parquet(folder / "rows.parquet")
    name, logged, now = next(compare(mlflow.get_run(run_id), materialize.settings))
    assert (name, logged == now) == ("training set", True)
    elsewhere = Settings(**{**materialize.settings.model_dump(), "home": materialize.settings.home / "elsewhere"})
    with pytest.raises(NotReproducibleError, match="holds less of transactions than the run read"):
        next(compare(mlflow.get_run(run_id), elsewhere))


def test_no_row_of_the_balanced_set_is_from_validation_or_test(first, materialize):
    lake = materialize.settings.lake
    rows = pl.read_parquet(lake / "training_set" / f"{PARTITION}.parquet").filter(pl.col("split") != "train")
    balanced = pl.read_parquet(lake / "balanced_training_set" / f"{PARTITION}.parquet")
    assert balanced.join(rows, on="transaction_id", how="semi").is_empty()
