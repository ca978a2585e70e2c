"""The daily run and the hourly one: which assets, in which process, at what time."""

from datetime import timedelta
from typing import TYPE_CHECKING

import dagster as dg

from fraud_assets.lake.offset_log import OffsetLog
from fraud_assets.partitions import AS_OF_TAG
from fraud_assets.resources import end_mlflow_on_run_finished
from fraud_core.settings import Settings
from fraud_io.folders import Lake

if TYPE_CHECKING:
    from dagster._core.definitions.partitions.partitioned_schedule import UnresolvedPartitionedAssetScheduleDefinition
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

HOUR_UTC = 3
MONITORING = "monitoring"  # the group of the assets that judge the models in use


# One process: with one per step each spends seconds on imports, and the MLflow run is opened again each time.
daily_training = dg.define_asset_job(
    "daily_training",
    selection=dg.AssetSelection.all() - dg.AssetSelection.groups(MONITORING),
    executor_def=dg.in_process_executor,
    hooks={end_mlflow_on_run_finished},
    description="Reads what is new in Kafka and trains, judges and registers a model as of the end of a day.",
)

merchant_risk_refresh = dg.define_asset_job(
    "merchant_risk_refresh",
    selection=["transactions", "labels", "merchant_risk"],
    executor_def=dg.in_process_executor,
    description="Reads what is new in Kafka and publishes the merchant risk table of the hour for the stream.",
)

monitoring = dg.define_asset_job(
    "monitoring",
    selection=dg.AssetSelection.assets("transactions", "labels") | dg.AssetSelection.groups(MONITORING),
    executor_def=dg.in_process_executor,
    description="Reads what is new in Kafka and judges the models in use by what they decided.",
)


def hourly_schedule(job: "UnresolvedAssetJobDefinition", minute: int = 0) -> dg.ScheduleDefinition:
    @dg.schedule(
        job=job,
        cron_schedule=f"{minute} * * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        name=f"{job.name}_schedule",
    )
    def schedule(
        context: dg.ScheduleEvaluationContext, settings: dg.ResourceParam[Settings]
    ) -> dg.RunRequest | dg.SkipReason:
        """Once an hour, once a first daily run has read transactions; the run key is the time."""
        if not OffsetLog(Lake(settings.lake).transactions).position():
            return dg.SkipReason("no run has read transactions yet: this schedule does not start the first one")
        time = context.scheduled_execution_time
        partition = (time - timedelta(days=1)).date().isoformat()
        if partition < settings.partitions_start:
            return dg.SkipReason("no day is complete yet")
        as_of = time.isoformat()
        return dg.RunRequest(run_key=as_of, partition_key=partition, tags={AS_OF_TAG: as_of})

    return schedule


def daily_schedule(
    job: "UnresolvedAssetJobDefinition", settings: Settings
) -> "dg.ScheduleDefinition | UnresolvedPartitionedAssetScheduleDefinition":
    """03:00 UTC for the day that has ended; the run key is its date, so a second trigger trains nothing.

    Stopped when Airflow triggers the job.
    """
    is_owner = settings.scheduler == "dagster"
    return dg.build_schedule_from_partitioned_job(
        job,
        hour_of_day=HOUR_UTC,
        default_status=dg.DefaultScheduleStatus.RUNNING if is_owner else dg.DefaultScheduleStatus.STOPPED,
    )
