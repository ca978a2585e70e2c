"""The daily run as Dagster runs it, in this process, on a lake that is filled already. Kafka and Spark are left out."""

from dataclasses import dataclass

import dagster as dg
import mlflow

from benchmarks.training.data import PARTITION
from benchmarks.training.meter import Meter
from fraud_assets.definitions import build_defs
from fraud_core.settings import Settings

INGESTION = {"transactions", "labels"}


@dataclass(frozen=True)
class Ours:
    """Average precision and F2 on the test period, as the evaluation asset logged them; the settings found."""

    average_precision: float
    f2: float
    smote_ratio: float
    params: dict[str, str]


def daily_run(settings: Settings, meter: Meter) -> Ours:
    """Run every asset of ``daily_training`` but the ingestion. Each asset is a step of ``meter``."""
    mlflow.set_tracking_uri(settings.mlflow_address)
    experiment = mlflow.create_experiment(settings.experiment_name, artifact_location=str(settings.home / "artifacts"))

    @dg.success_hook
    def tell(context: dg.HookContext) -> None:
        meter.tell(context.step_key)

    job = build_defs(settings).resolve_job_def("daily_training").with_hooks({tell})
    assets = [key for key in job.asset_layer.executable_asset_keys if key.path[-1] not in INGESTION]
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(partition_key=PARTITION, asset_selection=assets, instance=instance)
        began_s = {}
        for entry in instance.all_logs(result.run_id):
            match entry.dagster_event and entry.dagster_event.event_type:
                case dg.DagsterEventType.STEP_START:
                    began_s[entry.step_key] = entry.timestamp
                case dg.DagsterEventType.STEP_SUCCESS:
                    meter.add(entry.step_key, began_s[entry.step_key], entry.timestamp)
    [run] = mlflow.MlflowClient().search_runs([experiment])
    return Ours(
        average_precision=run.data.metrics["test_average_precision"],
        f2=run.data.metrics["test_f2"],
        smote_ratio=float(run.data.params["smote_ratio"]),
        params=run.data.params,
    )
