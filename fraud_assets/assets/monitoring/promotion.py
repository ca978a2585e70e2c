"""Asset ``promotion``: makes the move that this hour's evidence calls for."""

import dagster as dg

from fraud_assets.assets.monitoring.champion_quality import ChampionQuality
from fraud_assets.assets.monitoring.model_comparison import ModelComparison
from fraud_assets.registry import Registry
from fraud_core.settings import Settings
from fraud_io.folders import Lake


@dg.asset(group_name="monitoring", kinds={"mlflow"}, owners=["team:fraud-ml"])
def promotion(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    model_comparison: ModelComparison,
    champion_quality: ChampionQuality,
) -> dg.MaterializeResult:
    """One move at most per run: roll the champion back, promote the challenger, or take a worse one out of Staging.

    No version moves that has changed since the evidence was taken. Only ./run promote brings back a version that was
    rolled back, so two versions never alternate.
    """
    registry = Registry(settings, f"dagster run {context.run.run_id}")
    done = move(settings, registry, model_comparison, champion_quality)
    return dg.MaterializeResult(
        metadata={
            "done": done,
            "champion": registry.champion() or "none",
            "challenger": registry.challenger() or "none",
            "promotion_log": dg.MetadataValue.path(Lake(settings.lake).promotions),
        }
    )


def move(settings: Settings, registry: Registry, comparison: ModelComparison, quality: ChampionQuality) -> str:
    """What was done, or why nothing was, in a sentence. Raises champion.RefusedError."""
    from fraud_assets.commands.champion import promote, roll_back

    champion, challenger = registry.champion(), registry.challenger()
    if quality.verdict.action == "roll back" and quality.champion == champion:
        _, after = roll_back(registry, "; ".join(quality.verdict.reasons), quality.verdict.figures)
        return f"rolled back from version {champion} to {after}"
    verdict, why = comparison.verdict, "; ".join(comparison.verdict.reasons)
    if verdict.action == "wait":
        return f"nothing: {why}"
    if challenger is None or (comparison.champion, comparison.challenger) != (champion, challenger):
        return "nothing: the models have changed since they were compared"
    if verdict.action == "archive":
        registry.move(challenger, "Archived", why, verdict.figures)
        return f"version {challenger} has left Staging: {why}"
    if registry.was_rolled_back(challenger):
        return f"nothing: version {challenger} was rolled back once, a person may promote it"
    if not settings.auto_promote:
        return f"nothing, as FRAUD_AUTO_PROMOTE is off: version {challenger} may be promoted by ./run promote"
    promote(settings, registry, challenger, why, verdict.figures)
    return f"promoted version {challenger} in place of {champion}"
