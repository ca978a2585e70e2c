"""A small simulated history in a lake, and an MLflow with SQLite and files instead of a server."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import mlflow
import polars as pl
import pytest

from benchmarks.training.data import fill_lake
from fraud_assets.definitions import build_defs
from fraud_core.settings import Settings
from fraud_core.simulation.arrived import arrived
from fraud_core.simulation.simulator import Simulator, customers_for
from fraud_core.timestamps import DAY_MS

PARTITION = "2026-03-01"
AS_OF_MS = 20_514 * DAY_MS  # 2026-03-02


@pytest.fixture(scope="session")
def simulated() -> tuple[pl.DataFrame, pl.DataFrame]:
    """(transactions, labels) of the 90 days before AS_OF_MS, as the ingestion assets write them."""
    simulator, end = Simulator(customers_for(30_000, days=90), seed=1), AS_OF_MS // DAY_MS
    return arrived([simulator.day(day) for day in range(end - 90, end)])


def settings_in(home: Path, **changes: object) -> Settings:
    tracking = {"mlflow_url": f"sqlite:///{home}/mlflow.db"}
    return Settings(home=home, search_candidates=2, search_folds=2, **{**tracking, **changes})


Materialize = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture(scope="module")
def materialize(tmp_path_factory: pytest.TempPathFactory, simulated: tuple[pl.DataFrame, pl.DataFrame]) -> Materialize:
    """Runs the named assets of the daily job on the simulated lake; ``materialize.settings`` are the ones used."""
    settings = settings_in(tmp_path_factory.mktemp("home"))
    fill_lake(settings, *simulated)
    mlflow.set_tracking_uri(settings.mlflow_address)
    mlflow.create_experiment(settings.experiment_name, artifact_location=str(settings.home / "artifacts"))
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
