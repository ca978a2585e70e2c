"""Asset ``model_comparison``: the challenger against the champion, on payments that both scored as they came."""

from dataclasses import dataclass

import dagster as dg
import polars as pl

from fraud_assets import verdict_metadata
from fraud_assets.checks import blocking, non_blocking, result
from fraud_assets.partitions import known_ms
from fraud_assets.plots import as_markdown, as_table
from fraud_assets.registry import Registry
from fraud_core import plots
from fraud_core.evaluation.decision_quality import DecisionQuality, decision_quality
from fraud_core.model.roles import CHALLENGER, CHAMPION
from fraud_core.money import minor_units, to_major_units
from fraud_core.promotion.gates import Verdict, shadow_gate
from fraud_core.promotion.shadow import matured, served_pairs
from fraud_core.settings import Settings
from fraud_io.quarantine_log import QuarantineLog

_RESAMPLES = 200  # every hour


@dataclass(frozen=True)
class ModelComparison:
    """The versions that were compared, and what follows. Without a challenger nothing is compared."""

    champion: str | None
    challenger: str | None
    verdict: Verdict


@dg.asset(
    group_name="monitoring",
    kinds={"polars", "mlflow"},
    owners=["team:fraud-ml"],
    io_manager_key="record",
    check_specs=[
        *blocking(
            "model_comparison",
            scores_are_complete="Both models have a score from 0 to 1 for every payment compared.",
            no_label_is_in_quarantine="Nothing changes the champion while labels are held: ./run labels shows them.",
        ),
        *non_blocking("model_comparison", challenger_is_not_worse="As far as labels show. A worse one leaves Staging."),
    ],
)
def model_comparison(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    predictions: pl.DataFrame,
    labels: pl.DataFrame,
):
    """One verdict per run: may the challenger take over? Non-inferiority on what the stream served, where labels are
    mature.

    Paired, over the same draws of cards. Also the quality of each arm's own decisions (FRAUD_AB_SHARE).
    """
    registry = Registry(settings, f"dagster run {context.run.run_id}")
    champion, challenger = registry.champion(), registry.challenger()
    pairs = served_pairs(predictions, champion or "", challenger or "", settings.currency)
    as_of_ms = known_ms(context, predictions["event_time_ms"])
    compared = matured(pairs, labels, as_of_ms, settings.label_delay_days)
    blocked = QuarantineLog(settings.lake).blocks_promotion()
    if champion is None or challenger is None:
        verdict = Verdict("wait", ("there is no challenger" if champion else "there is no champion",))
    else:
        verdict = shadow_gate(compared, [blocked] if blocked else [], resamples=_RESAMPLES, seed=settings.seed)
    arms = arm_results(compared, settings.seed)
    return dg.MaterializeResult(
        value=ModelComparison(champion, challenger, verdict),
        metadata={
            "champion": champion or "none",
            "challenger": challenger or "none",
            **verdict_metadata.entries(verdict),
            "pairs_scored": pairs.height,
            **(arms_metadata(arms, settings.currency) if arms else {}),
        },
        check_results=check(compared, verdict, blocked),
    )


def arm_results(compared: pl.DataFrame, seed: int) -> dict[str, DecisionQuality]:
    """By arm, where there are frauds and others to judge it by."""
    by_arm = {arm: compared.filter(arm=arm) for arm in (CHAMPION, CHALLENGER)}
    return {
        arm: decision_quality(rows, rows[f"{arm}_flagged"].to_numpy(), resamples=_RESAMPLES, seed=seed)
        for arm, rows in by_arm.items()
        if 0 < rows["is_fraud"].sum() < rows.height
    }


def arms_metadata(arms: dict[str, DecisionQuality], currency: str) -> dict[str, dg.MetadataValue]:
    return {"arms": as_table(arms_table(arms, currency)), "arms_plot": as_markdown(plots.arms(arms))}


def arms_table(arms: dict[str, DecisionQuality], currency: str) -> pl.DataFrame:
    """A row an arm: counts, money in units of ``currency`` (payments without a rate left out), and shares with 5 to
    95 % over resampled cards, as text."""
    return pl.DataFrame(
        [
            {
                "arm": arm,
                **{name: getattr(quality, name) for name in ("transactions", "flagged", "frauds", "caught")},
                "currency": currency,
                "money_caught": to_major_units(quality.caught_minor, minor_units(currency)),
                "money_missed": to_major_units(quality.missed_minor, minor_units(currency)),
                **{name: str(figure) for name, figure in quality.shares().items()},
            }
            for arm, quality in arms.items()
        ]
    )


def check(compared: pl.DataFrame, verdict: Verdict, blocked: str | None) -> list[dg.AssetCheckResult]:
    bad = compared.filter(
        ~pl.all_horizontal(pl.col("champion_score", "challenger_score").is_between(0, 1).fill_null(False))
    )
    return [
        result(
            "scores_are_complete", bad.is_empty(), without=bad.height, examples=bad["transaction_id"].head(5).to_list()
        ),
        result("no_label_is_in_quarantine", blocked is None, reason=blocked or "nothing is held"),
        verdict_metadata.check("challenger_is_not_worse", verdict, unless="archive"),
    ]
