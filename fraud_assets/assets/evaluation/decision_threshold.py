"""Asset ``decision_threshold``: the score at or above which a transaction is flagged."""

from typing import Any

import dagster as dg
import polars as pl

from fraud_assets.checks import blocking, result
from fraud_assets.lineage import metrics_of
from fraud_assets.plots import as_markdown
from fraud_core import plots
from fraud_core.model.calibration import Calibration
from fraud_core.model.stored import StoredModel
from fraud_core.model.threshold import Threshold
from fraud_core.settings import Settings


@dg.asset(
    group_name="evaluation",
    kinds={"xgboost"},
    owners=["team:fraud-ml"],
    io_manager_key="record",
    check_specs=blocking(
        "decision_threshold", is_inside_0_and_1="The threshold, and all of its bootstrap interval, can separate scores."
    ),
)
def decision_threshold(
    settings: dg.ResourceParam[Settings],
    mlflow: dg.ResourceParam[Any],
    tuned_model: StoredModel,
    score_calibration: Calibration,
    training_set: pl.DataFrame,
):
    """One number a model: the calibrated score at which flagging starts, a fifth of the best F2 (ADR 14)."""
    from fraud_core.evaluation.report import evaluate
    from fraud_core.training.recipe import pick_threshold, raw_scores

    validation = training_set.filter(pl.col("split") == "validation")
    scores = score_calibration.apply(raw_scores(tuned_model.open(), validation))
    threshold = pick_threshold(validation, scores, settings)
    evaluation = evaluate(validation, scores, threshold.value)

    low, high = threshold.interval
    figure = plots.f2_against_threshold(evaluation, threshold.interval)
    mlflow.log_params({"threshold": threshold.value, "threshold_low": low, "threshold_high": high})
    mlflow.log_metrics(metrics_of(evaluation, "validation"))
    mlflow.log_figure(figure, "plots/f2_against_threshold.png")
    return dg.MaterializeResult(
        value=threshold,
        metadata={
            "threshold": threshold.value,
            "threshold_interval": f"{low:.4f} to {high:.4f}",
            "f2_validation": threshold.f_beta,
            "precision_validation": threshold.precision,
            "recall_validation": threshold.recall,
            "rows_validation": validation.height,
            "f2_against_threshold": as_markdown(figure),
        },
        check_results=check(threshold),
    )


def check(threshold: Threshold) -> list[dg.AssetCheckResult]:
    low, high = threshold.interval
    inside = 0 < threshold.value < 1 and 0 < low <= high < 1
    return [result("is_inside_0_and_1", inside, threshold=threshold.value, low=low, high=high)]
