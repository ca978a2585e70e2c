"""Asset ``tuned_model``: the search for tree settings, the final fit, and the anomaly detector beside the trees."""

import itertools
from typing import TYPE_CHECKING, Any, cast

import dagster as dg
import polars as pl

from fraud_assets.checks import blocking, result
from fraud_assets.partitions import as_of_ms
from fraud_assets.plots import as_markdown, as_table
from fraud_core import plots
from fraud_core.model.stored import StoredModel
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS

if TYPE_CHECKING:
    from fraud_core.model.anomaly import AnomalyDetector


@dg.asset(
    group_name="training",
    kinds={"xgboost", "scikitlearn"},
    owners=["team:fraud-ml"],
    io_manager_key="model",
    check_specs=blocking(
        "tuned_model",
        folds_are_purged="Folds follow each other in time, and each validates a label delay after it trained.",
    ),
)
def tuned_model(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    mlflow: dg.ResourceParam[Any],
    balanced_training_set: pl.DataFrame,
):
    """One XGBoost model a day: the best of a random search over time-ordered folds, fitted on the balanced set.

    It carries the anomaly detector, an isolation forest grown on its real rows.
    """
    from fraud_core.training.recipe import fit_model, search_params
    from fraud_core.training.training_set import time_split

    tuning = search_params(
        balanced_training_set,
        settings,
        lambda done, all_of, best: context.log.info(f"{done} of {all_of} candidates, best {best:.4f}"),
    )
    model = fit_model(balanced_training_set, tuning.params, time_split(as_of_ms(context), settings).train, settings)

    detector = cast("AnomalyDetector", model.anomaly)  # fit_model has grown one
    best = cast(float, tuning.table["average_precision"].max())
    importance = plots.feature_importance(model.total_gain())
    mlflow.log_params({**tuning.params, "search_candidates": settings.search_candidates})
    mlflow.log_params({"anomaly_share": settings.anomaly_share, "anomaly_limit": detector.limit})
    mlflow.log_metric("search_average_precision", best)
    mlflow.log_text(tuning.table.write_csv(), "search.csv")
    mlflow.log_figure(importance, "plots/feature_importance.png")
    return dg.MaterializeResult(
        value=StoredModel.of(model),
        metadata={
            "anomaly_limit": detector.limit,
            "search_average_precision": best,
            "rows_balanced": balanced_training_set.height,
            "settings": tuning.params,
            "candidates": as_table(tuning.table.sort("average_precision", descending=True)),
            "feature_importance": as_markdown(importance),
        },
        check_results=check(balanced_training_set.filter(~pl.col("is_synthetic")), settings),
    )


def check(rows: pl.DataFrame, settings: Settings) -> list[dg.AssetCheckResult]:
    """rows : the real training rows, which the search splits into folds."""
    from fraud_core.training.recipe import search_folds

    event_time_ms = rows["event_time_ms"].to_numpy()
    bounds = [
        (event_time_ms[train].max(), event_time_ms[validation].min(), event_time_ms[validation].max())
        for train, validation in search_folds(rows, settings).split(event_time_ms)
    ]
    purged = all(start - trained >= settings.label_delay_days * DAY_MS for trained, start, _ in bounds)
    ordered = all(end < start for (_, _, end), (_, start, _) in itertools.pairwise(bounds))
    return [result("folds_are_purged", purged and ordered, folds=len(bounds))]
