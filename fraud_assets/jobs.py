"""The daily run: which assets, in which process, at what time."""

from typing import TYPE_CHECKING

import dagster as dg

from fraud_assets.resources import end_mlflow_on_run_finished
from fraud_core.settings import Settings

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

HOUR_UTC = 3


def daily_training(partitions: dg.DailyPartitionsDefinition) -> "UnresolvedAssetJobDefinition":
    # One process: with one per step each spends seconds on imports, and the MLflow run is opened again each time.
    return dg.define_asset_job(
        "daily_training",
        selection=dg.AssetSelection.all(),
        partitions_def=partitions,
        executor_def=dg.in_process_executor,
        hooks={end_mlflow_on_run_finished},
        description="Reads what is new in Kafka and trains, judges and registers a model as of the end of a day.",
    )


def daily_schedule(job: "UnresolvedAssetJobDefinition", settings: Settings) -> dg.ScheduleDefinition:
    """03:00 UTC for the day that has ended; the run key is its date, so a second trigger trains nothing.

    Stopped when Airflow is the one that triggers the job.
    """
    is_owner = settings.scheduler == "dagster"
    return dg.build_schedule_from_partitioned_job(
        job,
        hour_of_day=HOUR_UTC,
        default_status=dg.DefaultScheduleStatus.RUNNING if is_owner else dg.DefaultScheduleStatus.STOPPED,
    )
