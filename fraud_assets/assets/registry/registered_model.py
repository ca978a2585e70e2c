"""Asset ``registered_model``: a version in the model registry, and its way into Staging."""

from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl

from fraud_assets.checks import blocking, result
from fraud_assets.registry import Registry, servable_champion
from fraud_core.model.calibration import Calibration
from fraud_core.model.stored import StoredModel
from fraud_core.model.threshold import Threshold
from fraud_core.promotion.gates import GateResult, Promotion, next_stage
from fraud_core.settings import Settings


@dataclass(frozen=True)
class RegisteredVersion:
    """A version of ``settings.model_name``, and where it goes after the offline gate."""

    version: str
    place: Promotion


# Trees grow one after the other, so the first ones, which a check can afford, show whether all would be the same.
TREES_GROWN_AGAIN = 20


@dg.asset(
    group_name="registry",
    kinds={"mlflow", "xgboost"},
    owners=["team:fraud-ml"],
    io_manager_key="record",
    check_specs=blocking(
        "registered_model",
        is_what_was_evaluated="The registry returns the model that was evaluated, bit for bit.",
        reproduces="Its logged parameters and data give its first trees again, bit for bit; ./run reproduce grows all.",
    ),
)
def registered_model(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    mlflow: dg.ResourceParam[Any],
    tuned_model: StoredModel,
    balanced_training_set: pl.DataFrame,
    score_calibration: Calibration,
    decision_threshold: Threshold,
    evaluation: GateResult,
):
    """One version per MLflow run: trees, threshold and feature list.

    In Staging if it passed the offline gate and no other is on trial there.
    """
    registry = Registry(settings, f"dagster run {context.run.run_id}")
    run_id = mlflow.active_run().info.run_id
    # A re-execution finds what the run before it registered.
    version = registry.version_of(run_id)
    if version is None:
        version = registry.register(
            tuned_model.completed(score_calibration, decision_threshold.value),
            run_id,
            {"dagster_run_id": context.run.run_id, "dagster_partition": context.partition_key},
        )
    place = next_stage(
        evaluation,
        has_champion=servable_champion(registry, context.log) is not None,
        trial=registry.trial(version),
        label_delay_days=settings.label_delay_days,
    )
    if place.stage != "None" and registry.stage(version) == "None":
        registry.move(version, "Staging", "; ".join(evaluation.reasons), evaluation.figures)
    return dg.MaterializeResult(
        value=RegisteredVersion(version, place),
        metadata={
            "version": version,
            "stage": registry.stage(version),
            "reasons": "; ".join(evaluation.reasons),
            "why_this_stage": place.reason,
            "mlflow_run": dg.MetadataValue.url(
                f"{settings.mlflow_address}/#/experiments/{mlflow.active_run().info.experiment_id}/runs/{run_id}"
            ),
        },
        check_results=check(tuned_model, registry.load(version), balanced_training_set, settings),
    )


def check(
    evaluated: StoredModel, logged: StoredModel, balanced: pl.DataFrame, settings: Settings
) -> list[dg.AssetCheckResult]:
    from fraud_core.training.recipe import grow_trees

    trees = logged.booster().get_dump(with_stats=True)[:TREES_GROWN_AGAIN]
    again = grow_trees(balanced, {**logged.card["params"], "n_estimators": len(trees)}, settings)
    return [
        result("is_what_was_evaluated", logged.ubj == evaluated.ubj),
        result("reproduces", again.get_dump(with_stats=True) == trees, trees=len(trees)),
    ]
