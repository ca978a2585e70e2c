"""What is shown beside the numbers: tables and figures, each made from what the core computed."""

import base64
from io import BytesIO
from typing import TYPE_CHECKING

import dagster as dg
import numpy as np
import polars as pl

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fraud_core.calibration import Calibration
    from fraud_core.evaluation import Evaluation

GENUINE, FRAUD, NEUTRAL = "#4c78a8", "#e45756", "#54546c"


def as_markdown(figure: "Figure") -> dg.MarkdownMetadataValue:
    """The figure inside the text, so that Dagster's UI shows it without a file server."""
    png = BytesIO()
    figure.savefig(png, format="png", dpi=70)
    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{base64.b64encode(png.getvalue()).decode()})")


def as_table(frame: pl.DataFrame) -> dg.TableMetadataValue:
    return dg.MetadataValue.table([dg.TableRecord(row) for row in frame.iter_rows(named=True)])


def rows_per_day(days: pl.DataFrame, title: str) -> "Figure":
    """days : day Date, rows Int."""
    figure, axes = _figure(title, "", "rows a day")
    axes.bar(days["day"].to_list(), days["rows"].to_numpy(), color=GENUINE, width=0.9)
    figure.autofmt_xdate()
    return figure


def fraud_rate_per_day(days: pl.DataFrame, title: str) -> "Figure":
    """days : day Date, fraud_rate Float64."""
    figure, axes = _figure(title, "", "share of fraud")
    axes.bar(days["day"].to_list(), days["fraud_rate"].to_numpy(), color=FRAUD, width=0.9)
    figure.autofmt_xdate()
    return figure


def precision_recall(evaluation: "Evaluation") -> "Figure":
    figure, axes = _figure(f"Average precision {evaluation.average_precision:.3f}", "recall", "precision")
    axes.step(evaluation.curve["recall"], evaluation.curve["precision"], where="post", color=GENUINE)
    axes.plot(evaluation.recall, evaluation.precision, "o", color=FRAUD, label=f"threshold {evaluation.threshold:.3f}")
    axes.axhline(evaluation.base_rate, color=NEUTRAL, linestyle=":", label=f"base rate {evaluation.base_rate:.4f}")
    axes.legend()
    return figure


def f2_against_threshold(evaluation: "Evaluation", interval: tuple[float, float]) -> "Figure":
    figure, axes = _figure(f"F2 {evaluation.f2:.3f} at threshold {evaluation.threshold:.3f}", "threshold", "F2")
    axes.plot(evaluation.curve["threshold"], evaluation.curve["f2"], color=GENUINE)
    axes.axvspan(*interval, color=FRAUD, alpha=0.15, label="5 to 95 % of resamples")
    axes.axvline(evaluation.threshold, color=FRAUD)
    axes.legend()
    return figure


def confusion_matrix(evaluation: "Evaluation") -> "Figure":
    counts = np.array(
        [
            [evaluation.true_negatives, evaluation.false_positives],
            [evaluation.false_negatives, evaluation.true_positives],
        ]
    )
    figure, axes = _figure("Transactions", "flagged", "fraud")
    shares = counts / counts.sum(axis=1, keepdims=True)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, f"{count:,}", ha="center", va="center", color=color)
    axes.set_xticks([0, 1], ["no", "yes"])
    axes.set_yticks([0, 1], ["no", "yes"])
    return figure


def score_distribution(is_fraud: np.ndarray, scores: np.ndarray, threshold: float) -> "Figure":
    figure, axes = _figure("Scores", "score", "transactions")
    edges = np.linspace(0, 1, 51)
    axes.hist(
        [scores[~is_fraud], scores[is_fraud]], edges, color=[GENUINE, FRAUD], label=["genuine", "fraud"], log=True
    )
    axes.axvline(threshold, color=NEUTRAL, label="threshold")
    axes.legend()
    return figure


def feature_importance(gains: dict[str, float], shown: int = 20) -> "Figure":
    """gains : total gain by feature, as Booster.get_score gives it."""
    top = sorted(gains.items(), key=lambda item: item[1])[-shown:]
    figure, axes = _figure(f"Total gain of the first {len(top)} features", "", "")
    axes.barh([name for name, _ in top], [gain for _, gain in top], color=GENUINE)
    axes.tick_params(axis="y", labelsize=7)
    return figure


def calibration_curve(calibration: "Calibration") -> "Figure":
    figure, axes = _figure(f"Calibration: {calibration.method}", "score of the trees", "probability of fraud")
    raw = np.linspace(0, 1, 501)
    axes.plot(raw, calibration.apply(raw), color=GENUINE)
    axes.plot([0, 1], [0, 1], color=NEUTRAL, linestyle=":", label="as it was")
    axes.legend()
    return figure


def _figure(title: str, x: str, y: str) -> "tuple[Figure, Axes]":
    # The class instead of pyplot: no global state, no display, nothing to close.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    return figure, axes
