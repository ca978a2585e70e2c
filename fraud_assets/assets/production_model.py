"""Asset ``production_model``: the version that decides."""

from typing import Any

import dagster as dg

from fraud_assets.assets.registered_model import RegisteredVersion
from fraud_assets.promotion_log import promotion_log
from fraud_assets.registry import Registry, servable_champion
from fraud_core.promotion import GateResult, next_stage
from fraud_core.settings import Settings


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
    champion = servable_champion(registry, context.log)
    promotion = next_stage(
        evaluation,
        has_champion=champion is not None,
        trial=registry.trial(registered_model.version),
        label_delay_days=settings.label_delay_days,
    )
    if promotion.stage == "Production":
        registry.move(registered_model.version, "Production", promotion.reason, evaluation.figures)
    return dg.MaterializeResult(
        metadata={
            "champion": registry.champion() or "none",
            "candidate": registered_model.version,
            "candidate_stage": registry.stage(registered_model.version),
            "reason": promotion.reason,
            "promotion_log": dg.MetadataValue.path(promotion_log(settings)),
        }
    )
