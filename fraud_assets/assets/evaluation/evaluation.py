"""Asset ``evaluation``: the model against rows it has never seen, and against the champion on the same rows."""

from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from fraud_assets.checks import blocking, non_blocking, result, warning
from fraud_assets.lineage import metrics_of
from fraud_assets.plots import as_markdown, as_table
from fraud_assets.registry import Registry, servable_champion
from fraud_core import plots
from fraud_core.model.calibration import Calibration
from fraud_core.model.stored import StoredModel
from fraud_core.model.threshold import Threshold
from fraud_core.promotion.gates import AP_MARGIN, GateResult, offline_gate
from fraud_core.settings import Settings

if TYPE_CHECKING:
    from fraud_core.evaluation.comparison import PairedGain


@dg.asset(
    group_name="evaluation",
    kinds={"xgboost", "mlflow"},
    owners=["team:fraud-ml"],
    io_manager_key="record",
    check_specs=[
        *blocking("evaluation", beats_chance="Average precision on test is above the base rate by a margin."),
        *non_blocking(
            "evaluation",
            passes_the_offline_gate="Good enough for Staging. If not, the version is still registered and stays out "
            "of it.",
        ),
    ],
)
def evaluation(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    mlflow: dg.ResourceParam[Any],
    tuned_model: StoredModel,
    score_calibration: Calibration,
    decision_threshold: Threshold,
    balanced_training_set: pl.DataFrame,
    training_set: pl.DataFrame,
):
    """One verdict per model: may it enter Staging, judged on the test period and beside the champion."""
    from fraud_core.evaluation.currencies import by_currency
    from fraud_core.evaluation.intervals import card_intervals
    from fraud_core.evaluation.report import evaluate
    from fraud_core.features.table import FEATURES

    test = training_set.filter(pl.col("split") == "test")
    values, is_fraud = test.select(FEATURES).to_numpy(), test["is_fraud"].to_numpy()
    scores = tuned_model.completed(score_calibration, decision_threshold.value).open().score(values)
    measured = evaluate(test, scores, decision_threshold.value)
    champion = servable_champion(Registry(settings, f"dagster run {context.run.run_id}"), context.log)
    gate = offline_gate(
        is_fraud,
        test["user_id"],
        scores,
        decision_threshold.value,
        None if champion is None else champion.model.score(values),
        seed=settings.seed,
    )

    # What live quality is held against.
    recall = card_intervals(test, scores, scores >= decision_threshold.value, seed=settings.seed)["recall"]
    smote = smote_gain(tuned_model, balanced_training_set, training_set, settings)

    metrics = metrics_of(measured, "test") | {
        "test_recall_low": recall.low,
        "test_recall_high": recall.high,
        **smote.gain_named("validation_average_precision_gain_of_smote"),
    }
    currencies = by_currency(test, settings.currency)
    curve = plots.precision_recall(measured)
    mlflow.log_metrics({**metrics, **{f"gate_{name}": value for name, value in gate.figures.items()}})
    mlflow.log_dict({"passed": gate.passed, "reasons": gate.reasons}, "offline_gate.json")
    mlflow.log_dict({"currency": settings.currency, "test": currencies.to_dicts()}, "currencies.json")
    mlflow.log_figure(curve, "plots/precision_recall.png")
    mlflow.log_figure(plots.confusion_matrix(measured), "plots/confusion_matrix.png")
    mlflow.log_figure(
        plots.score_distribution(is_fraud, scores, decision_threshold.value), "plots/score_distribution.png"
    )
    return dg.MaterializeResult(
        value=gate,
        metadata={
            **metrics,
            "compared_with": f"version {champion.version}" if champion else "no champion",
            "currency": settings.currency,
            "test_by_currency": as_table(currencies),
            "precision_recall": as_markdown(curve),
        },
        check_results=check(gate),
    )


def smote_gain(
    tuned_model: StoredModel, balanced: pl.DataFrame, training_set: pl.DataFrame, settings: Settings
) -> "PairedGain":
    """What the synthetic rows gained on validation, over a model with the same settings fitted without them."""
    from fraud_core.evaluation.comparison import paired_gain
    from fraud_core.features.table import FEATURES
    from fraud_core.training.recipe import grow_trees

    validation = training_set.filter(pl.col("split") == "validation")
    values = validation.select(FEATURES).to_numpy()
    scores = control = tuned_model.open().raw_score(values)
    if balanced["is_synthetic"].any():
        without = grow_trees(balanced.filter(~pl.col("is_synthetic")), tuned_model.card["params"], settings)
        control = without.inplace_predict(values, validate_features=False)
    return paired_gain(validation["is_fraud"].to_numpy(), validation["user_id"], scores, control, seed=settings.seed)


def check(gate: GateResult) -> list[dg.AssetCheckResult]:
    base_rate, reached = gate.figures.get("base_rate", 0.0), gate.figures.get("candidate_average_precision", 0.0)
    floor = base_rate + AP_MARGIN * (1 - base_rate)
    return [
        result("beats_chance", reached >= floor, average_precision=reached, floor=floor),
        warning("passes_the_offline_gate", gate.passed, reasons="; ".join(gate.reasons)),
    ]
