"""Asset ``champion_quality``: whether a model that is new in Production does as well as the one before it did."""

from dataclasses import dataclass

import dagster as dg
import polars as pl

from fraud_assets import verdict_metadata
from fraud_assets.checks import non_blocking
from fraud_assets.partitions import known_ms
from fraud_assets.registry import Registry
from fraud_core.promotion.gates import Verdict
from fraud_core.promotion.shadow import matured
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS

_RESAMPLES = 200  # every hour
_END_OF_TIME_MS = 2**62


@dataclass(frozen=True)
class ChampionQuality:
    """The version in Production, the one that a rollback would go back to, and what follows."""

    champion: str | None
    previous: str | None
    verdict: Verdict


@dg.asset(
    group_name="monitoring",
    kinds={"polars", "mlflow"},
    owners=["team:fraud-ml"],
    io_manager_key="record",
    check_specs=non_blocking(
        "champion_quality",
        champion_is_not_worse_than_the_one_before="Of a champion younger than 14 days, on the stream's clock. One that "
        "is worse is rolled back.",
    ),
)
def champion_quality(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    predictions: pl.DataFrame,
    labels: pl.DataFrame,
):
    """One verdict per run: must the champion be rolled back? Judged by its live decisions and those of the version
    before it."""
    registry = Registry(settings, f"dagster run {context.run.run_id}")
    champion = registry.champion()
    previous = next(iter(registry.past_champions()), None)
    as_of_ms = known_ms(context, predictions["event_time_ms"])
    if champion is None or previous is None:
        verdict = Verdict("wait", ("there is no champion with another one before it",))
    else:
        verdict = judge(registry, champion, previous, predictions, labels, as_of_ms, settings)
    return dg.MaterializeResult(
        value=ChampionQuality(champion, previous, verdict),
        metadata={
            "champion": champion or "none",
            "previous": previous or "none",
            **verdict_metadata.entries(verdict),
        },
        check_results=[
            verdict_metadata.check("champion_is_not_worse_than_the_one_before", verdict, unless="roll back")
        ],
    )


def judge(
    registry: Registry,
    champion: str,
    previous: str,
    predictions: pl.DataFrame,
    labels: pl.DataFrame,
    as_of_ms: int,
    settings: Settings,
) -> Verdict:
    from fraud_core.features.table import FEATURES
    from fraud_core.promotion.rollback import decisions_of, fresh_until_ms, rollback_gate

    since_ms = registry.since_ms(champion, "Production")
    decided = decisions_of(predictions, champion, since_ms, _END_OF_TIME_MS, settings.currency)
    if decided.is_empty():
        return Verdict("wait", (f"version {champion} has decided nothing yet",))
    if as_of_ms - settings.label_delay_days * DAY_MS > fresh_until_ms(decided):
        return Verdict("wait", (f"version {champion} is no longer fresh: it stays until a better one comes",))
    fresh, before = (
        matured(rows, labels, as_of_ms, settings.label_delay_days)
        for rows in (decided, decisions_of(predictions, previous, 0, since_ms, settings.currency))
    )
    try:
        model = registry.load(previous).open()
    except ValueError as error:
        return Verdict("wait", (f"version {previous} can no longer be served, so there is no rollback: {error}",))
    instead = model.score(fresh.select(FEATURES).to_numpy()) >= model.card.threshold
    return rollback_gate(fresh, before, instead, resamples=_RESAMPLES, seed=settings.seed)
