"""A small simulated history in a lake, and an MLflow with SQLite and files instead of a server."""

import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import mlflow
import polars as pl
import pytest
import xgboost as xgb
from mlflow import MlflowClient

from benchmarks.training.data import fill_lake
from fraud_assets.definitions import build_defs
from fraud_assets.registry import Registry
from fraud_assets_tests.once import made_once
from fraud_core.features.table import FEATURES
from fraud_core.model.digests import digests
from fraud_core.model.fraud_model import FraudModel, ModelCard
from fraud_core.model.stored import StoredModel
from fraud_core.settings import Settings
from fraud_core.simulation.arrived import arrived
from fraud_core.simulation.simulator import Simulator, customers_for
from fraud_core.timestamps import DAY_MS

PARTITION = "2026-03-01"
AS_OF_MS = 20_514 * DAY_MS  # 2026-03-02

SettingsIn = Callable[..., Settings]
Materialize = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(transactions, labels) of the 90 days before AS_OF_MS, as the ingestion assets write them."""

    def simulate(folder: Path) -> None:
        simulator, end = Simulator(customers_for(30_000, days=90), seed=1), AS_OF_MS // DAY_MS
        transactions, labels = arrived([simulator.day(day) for day in range(end - 90, end)])
        transactions.write_parquet(folder / "transactions.parquet")
        labels.write_parquet(folder / "labels.parquet")

    folder = made_once(tmp_path_factory, "simulated", simulate)
    return pl.read_parquet(folder / "transactions.parquet"), pl.read_parquet(folder / "labels.parquet")


@pytest.fixture(scope="session")
def settings_in(tmp_path_factory: pytest.TempPathFactory) -> SettingsIn:
    """Settings with this home and an empty MLflow database there: a copy of one, because its migrations take seconds.

    Artifacts are beside it, in the experiment that the settings name.
    """

    def migrate(folder: Path) -> None:
        MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()

    migrated = made_once(tmp_path_factory, "migrated", migrate) / "mlflow.db"

    def made(home: Path) -> Settings:
        shutil.copy(migrated, home / "mlflow.db")
        settings = Settings(home=home, mlflow_url=f"sqlite:///{home}/mlflow.db", search_candidates=2, search_folds=2)
        mlflow.set_tracking_uri(settings.mlflow_address)
        mlflow.create_experiment(settings.experiment_name, artifact_location=str(home / "artifacts"))
        return settings

    return made


@pytest.fixture(scope="module")
def materialize(
    tmp_path_factory: pytest.TempPathFactory, settings_in: SettingsIn, simulated: tuple[pl.DataFrame, pl.DataFrame]
) -> Materialize:
    """Runs the named assets of the daily job on the simulated lake; ``materialize.settings`` are the ones used."""
    settings = settings_in(tmp_path_factory.mktemp("home"))
    fill_lake(settings, *simulated)
    job = build_defs(settings).resolve_job_def("daily_training")

    def run(*assets: str) -> dg.ExecuteInProcessResult:
        with dg.DagsterInstance.ephemeral() as instance:
            return job.execute_in_process(
                partition_key=PARTITION,
                asset_selection=[dg.AssetKey(name) for name in assets],
                instance=instance,
                raise_on_error=False,
            )

    run.settings = settings
    return run


@pytest.fixture(scope="session")
def model() -> StoredModel:
    rows = xgb.DMatrix([[float(i + j) for j in range(len(FEATURES))] for i in range(8)], [0, 1] * 4)
    return StoredModel.of(FraudModel(xgb.train({"max_depth": 2}, rows, 3), ModelCard(0.5, 0.01, (0, 10))))


def register(registry: Registry, settings: Settings, model: StoredModel) -> str:
    """The version that ``model`` becomes, with a run of its own."""
    mlflow.set_tracking_uri(settings.mlflow_address)
    with mlflow.start_run(experiment_id=mlflow.get_experiment_by_name(settings.experiment_name).experiment_id) as run:
        return registry.register(model, run.info.run_id, {})


def again(registry: Registry, version: str, model: StoredModel) -> str:
    """Another version of the run of ``version``, with the same files."""
    found = registry._client.get_model_version(registry._name, version)
    tags = digests(model.ubj, model.card)
    return str(registry._client.create_model_version(registry._name, found.source, found.run_id, tags=tags).version)
