"""Asset ``balanced_training_set``: the training rows with synthetic frauds, and checks that nothing else is in it."""

from typing import Any, cast

import dagster as dg
import polars as pl

from fraud_assets.checks import blocking, features_are_finite, result
from fraud_assets.lineage import log_dataset
from fraud_assets.plots import as_table
from fraud_core.settings import Settings


@dg.asset(
    group_name="training",
    kinds={"scikitlearn", "parquet"},
    owners=["team:fraud-ml"],
    io_manager_key="parquet",
    check_specs=blocking(
        "balanced_training_set",
        only_training_rows="No row of the validation or test period is in it, under its own id or made from one.",
        both_classes="It holds frauds and genuine transactions.",
        features_are_finite="No feature is missing, NaN or infinite.",
    ),
)
def balanced_training_set(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    mlflow: dg.ResourceParam[Any],
    training_set: pl.DataFrame,
):
    """One row per transaction of the training period, and one per synthetic fraud that SMOTE made from those.

    The SMOTE ratio is the one that did best on later rows, with SMOTE inside the folds; 0 is a candidate too.
    """
    from fraud_core.training.recipe import balance_rows, choose_ratio

    train = training_set.filter(pl.col("split") == "train")
    choice = choose_ratio(train, settings)
    balanced = balance_rows(train, choice.ratio, settings)

    log_dataset(mlflow, balanced, "balanced_training_set", context.partition_key, "final fit")
    mlflow.log_params({"smote_ratio": choice.ratio, "seed": settings.seed, "search_folds": settings.search_folds})
    without = choice.table.filter(pl.col("ratio") == 0)["average_precision"][0]
    mlflow.log_metric("search_average_precision_without_smote", without)
    return dg.MaterializeResult(
        value=balanced,
        metadata={
            "dagster/row_count": balanced.height,
            "smote_ratio": choice.ratio,
            "synthetic_rows": int(balanced["is_synthetic"].sum()),
            "fraud_rate": cast("float | None", balanced["is_fraud"].mean()),
            "ratios_tried": as_table(choice.table),
        },
        check_results=check(balanced, training_set),
    )


def check(balanced: pl.DataFrame, training_set: pl.DataFrame) -> list[dg.AssetCheckResult]:
    real = balanced.filter(~pl.col("is_synthetic"))
    train = training_set.filter(pl.col("split") == "train")
    strangers = real.join(train, on="transaction_id", how="anti").height
    labels = balanced["is_fraud"]
    return [
        result("only_training_rows", strangers == 0 and real.height == train.height, strangers=strangers),
        result("both_classes", labels.any() and not labels.all(), frauds=int(labels.sum())),
        features_are_finite(balanced),
    ]
