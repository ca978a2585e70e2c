"""Asset ``production_model``: the version that decides."""

from typing import Any

import dagster as dg

from fraud_assets.assets.registry.registered_model import RegisteredVersion
from fraud_assets.registry import Registry
from fraud_core.promotion.gates import GateResult
from fraud_core.settings import Settings
from fraud_io.folders import Lake


@dg.asset(group_name="registry", kinds={"mlflow"}, owners=["team:fraud-ml"])
def production_model(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    mlflow: dg.ResourceParam[Any],
    registered_model: RegisteredVersion,
    evaluation: GateResult,
) -> dg.MaterializeResult:
    """One version at a time: the champion, whose decisions the stream publishes. The first model becomes it at once."""
    registry = Registry(settings, f"dagster run {context.run.run_id}")
    place = registered_model.place
    if place.stage == "Production":
        registry.move(registered_model.version, "Production", place.reason, evaluation.figures)
    return dg.MaterializeResult(
        metadata={
            "champion": registry.champion() or "none",
            "candidate": registered_model.version,
            "candidate_stage": registry.stage(registered_model.version),
            "reason": place.reason,
            "promotion_log": dg.MetadataValue.path(Lake(settings.lake).promotions),
        }
    )
