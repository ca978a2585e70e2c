"""Asset ``score_calibration``: from the trees' score to a probability."""

from typing import Any

import dagster as dg
import polars as pl

from fraud_assets.plots import as_markdown
from fraud_core import plots
from fraud_core.model.calibration import Calibration
from fraud_core.model.stored import StoredModel


@dg.asset(group_name="evaluation", kinds={"scikitlearn"}, owners=["team:fraud-ml"], io_manager_key="record")
def score_calibration(
    mlflow: dg.ResourceParam[Any],
    tuned_model: StoredModel,
    training_set: pl.DataFrame,
) -> dg.MaterializeResult[Calibration]:
    """One curve per model, fitted on validation: isotonic or Platt, whichever predicts cards left out of it better."""
    from fraud_core.training.recipe import fit_calibration, raw_scores

    validation = training_set.filter(pl.col("split") == "validation")
    calibration = fit_calibration(validation, raw_scores(tuned_model.open(), validation))

    mlflow.log_param("calibration", calibration.method)
    mlflow.log_metrics({f"validation_log_loss_{method}": loss for method, loss in calibration.log_loss.items()})
    figure = plots.calibration_curve(calibration)
    mlflow.log_figure(figure, "plots/calibration_curve.png")
    return dg.MaterializeResult(
        value=calibration,
        metadata={
            "method": calibration.method,
            **{f"log_loss_{method}": loss for method, loss in calibration.log_loss.items()},
            "curve": as_markdown(figure),
        },
    )
