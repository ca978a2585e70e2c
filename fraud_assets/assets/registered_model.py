"""Asset ``registered_model``: a version in the model registry, and its way into Staging."""

from dataclasses import dataclass, replace
from typing import Any

import dagster as dg

from fraud_assets.io_managers import StoredModel
from fraud_assets.registry import Registry
from fraud_core.promotion import GateResult
from fraud_core.settings import Settings
from fraud_core.threshold import Threshold


@dataclass(frozen=True)
class RegisteredVersion:
    """A version of ``settings.model_name`` and the MLflow run it comes from."""

    version: str
    mlflow_run_id: str


@dg.asset(group_name="registry", kinds={"mlflow", "xgboost"}, owners=["team:fraud-ml"], io_manager_key="record")
def registered_model(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    mlflow: dg.ResourceParam[Any],
    tuned_model: StoredModel,
    decision_threshold: Threshold,
    evaluation: GateResult,
) -> dg.MaterializeResult[RegisteredVersion]:
    """One version per MLflow run: trees, threshold and feature list. In Staging if it passed the offline gate."""
    registry = Registry(settings, f"dagster run {context.run.run_id}")
    run_id = mlflow.active_run().info.run_id
    # A re-execution finds what the run before it registered.
    version = registry.version_of(run_id)
    if version is None:
        stored = replace(tuned_model, card={**tuned_model.card, "threshold": decision_threshold.value})
        version = registry.register(
            stored,
            run_id,
            {"dagster_run_id": context.run.run_id, "dagster_partition": context.partition_key},
        )
    if evaluation.passed:
        registry.move(version, "Staging", "; ".join(evaluation.reasons))
    return dg.MaterializeResult(
        value=RegisteredVersion(version, run_id),
        metadata={
            "version": version,
            "stage": registry.stage(version),
            "reasons": "; ".join(evaluation.reasons),
            "mlflow_run": dg.MetadataValue.url(
                f"{settings.mlflow_address}/#/experiments/{mlflow.active_run().info.experiment_id}/runs/{run_id}"
            ),
        },
    )
