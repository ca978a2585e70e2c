"""Asset ``live_quality``: what the models in use were worth, as labels come in."""

from typing import Any

import dagster as dg
import polars as pl

from fraud_assets.checks import non_blocking, warning
from fraud_assets.partitions import known_ms
from fraud_assets.plots import as_markdown, as_table
from fraud_assets.registry import Registry
from fraud_core import plots
from fraud_core.evaluation.decision_quality import Estimate
from fraud_core.evaluation.intervals import METRICS
from fraud_core.monitoring.cohorts import Cohort, LiveQuality
from fraud_core.settings import Settings

LEAST_FRAUDS = 30
"""With fewer, recall says nothing."""


@dg.asset(
    group_name="monitoring",
    kinds={"polars"},
    owners=["team:fraud-ml"],
    io_manager_key="record",
    check_specs=non_blocking(
        "live_quality",
        recall_holds="Live recall of the model in production is not below the 90 % interval of its test period.",
    ),
)
def live_quality(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    predictions: pl.DataFrame,
    labels: pl.DataFrame,
):
    """One cohort per model version and label maturity (label delay, 14 and 30 days): precision, recall, F2, AP, CP@100,
    money in FRAUD_CURRENCY.

    Of the last FRAUD_TEST_DAYS days of each version that have matured. Beside them the estimate from
    scores alone and its error, and recall from the review sample, which counts fraud that nobody reported.
    """
    from fraud_core.monitoring import live_quality as core

    as_of_ms = known_ms(context, predictions["event_time_ms"])
    delay = settings.label_delay_days
    quality = core.live_quality(
        predictions,
        labels,
        as_of_ms,
        label_delay_days=delay,
        period_days=settings.test_days,
        currency=settings.currency,
        seed=settings.seed,
    )
    newest, registry = quality.newest(), Registry(settings, f"dagster run {context.run.run_id}")
    return dg.MaterializeResult(
        value=quality,
        metadata={
            **({} if newest is None else cohort_metadata(newest, quality)),
            "recall_by_day": as_markdown(plots.recall_by_day(core.daily(predictions, labels, as_of_ms, delay))),
        },
        check_results=[check(newest, None if newest is None else recall_when_tested(registry, newest.model_version))],
    )


def cohort_metadata(newest: Cohort, quality: LiveQuality) -> dict[str, Any]:
    """Metadata: the numbers of the newest cohort, which Prometheus also gets, and a table of all cohorts as text."""
    rows = pl.DataFrame(
        [
            {
                **{name: str(getattr(cohort, name)) for name in ("model_version", "maturity_days", "frauds")},
                **{name: _text(getattr(cohort, name)) for name in (*METRICS, "recall_by_review")},
                **{f"expected_{name}": _text(getattr(cohort.expected, name)) for name in METRICS},
            }
            for cohort in quality.cohorts
        ]
    )
    return {
        "model_version": newest.model_version,
        "currency": newest.currency,
        **newest.numbers(),
        "cohorts": as_table(rows),
    }


def recall_when_tested(registry: Registry, version: str) -> tuple[float, float] | None:
    """The 90 % interval of recall on the version's test period; None when its run did not log one."""
    metrics = registry.metrics(version)
    low, high = metrics.get("test_recall_low"), metrics.get("test_recall_high")
    return None if low is None or high is None else (low, high)


def check(newest: Cohort | None, tested: tuple[float, float] | None) -> dg.AssetCheckResult:
    """Also passes when nothing can be judged yet; the metadata says so."""
    figures: dict[str, Any] = dict(zip(("test_recall_low", "test_recall_high"), tested or (), strict=False))
    recall = newest.recall if newest is not None and newest.frauds >= LEAST_FRAUDS else None
    if newest is not None:
        figures |= {"model_version": newest.model_version, "frauds": newest.frauds, "recall": _text(newest.recall)}
    holds = recall is None or tested is None or recall.value >= tested[0]
    return warning("recall_holds", holds, **figures, is_judged=recall is not None and tested is not None)


def _text(figure: Estimate | float | None) -> str:
    if figure is None:
        return "-"
    return f"{figure:.4f}" if isinstance(figure, float) else str(figure)
