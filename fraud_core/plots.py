"""Figures, each made from what the core computed. Where they are shown is not known here."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import polars as pl

from fraud_core.money import minor_units, to_major_units

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fraud_core.evaluation.decision_quality import DecisionQuality
    from fraud_core.evaluation.report import Evaluation
    from fraud_core.model.calibration import Calibration

# Readable on white and on near-black. What is left black is axes and text, which a page may colour as its own text.
GENUINE, FRAUD, NEUTRAL = "#4c78a8", "#e45756", "#85899c"
SERIES = (GENUINE, FRAUD, "#54a24b", "#c98a2b")


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


def precision_recall(evaluation: "Evaluation", folds: "Sequence[Evaluation]" = ()) -> "Figure":
    """folds : what ``evaluation`` pools, drawn behind it."""
    figure, axes = _figure(f"Average precision {evaluation.average_precision:.3f}", "recall", "precision")
    for fold in folds:
        axes.step(fold.curve["recall"], fold.curve["precision"], where="post", color=NEUTRAL, alpha=0.5, linewidth=0.8)
    axes.step(evaluation.curve["recall"], evaluation.curve["precision"], where="post", color=GENUINE)
    axes.plot(evaluation.recall, evaluation.precision, "o", color=FRAUD, label=_thresholds(evaluation, folds))
    axes.axhline(evaluation.base_rate, color=NEUTRAL, linestyle=":", label=f"base rate {evaluation.base_rate:.4f}")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    axes.legend(frameon=False)
    return figure


def f2_against_threshold(
    evaluation: "Evaluation", interval: tuple[float, float], folds: "Sequence[Evaluation]" = ()
) -> "Figure":
    """folds : what ``evaluation`` pools, drawn behind it, each with a dot at its own threshold."""
    figure, axes = _figure(f"F2 {evaluation.f2:.3f}, {_thresholds(evaluation, folds)}", "threshold", "F2")
    for fold in folds:
        axes.plot(fold.curve["threshold"], fold.curve["f2"], color=NEUTRAL, alpha=0.5, linewidth=0.8)
        axes.plot(fold.threshold, fold.f2, ".", color=FRAUD)
    axes.plot(evaluation.curve["threshold"], evaluation.curve["f2"], color=GENUINE)
    axes.axvspan(*interval, color=FRAUD, alpha=0.15, linewidth=0, label="5 to 95 % of resamples")
    axes.axvline(evaluation.threshold, color=FRAUD, label="mean threshold" if folds else "threshold")
    axes.legend(frameon=False)
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
        color = "white" if shares[row, column] > 0.5 else "#101820"
        text = f"{count:,}\n{shares[row, column]:.2%}"
        axes.text(column, row, text, ha="center", va="center", color=color)
    axes.set_xticks([0, 1], ["no", "yes"])
    axes.set_yticks([0, 1], ["no", "yes"])
    return figure


def score_distribution(is_fraud: np.ndarray, scores: np.ndarray, threshold: float) -> "Figure":
    figure, axes = _figure("Scores", "score", "transactions")
    edges = np.linspace(0, 1, 51).tolist()
    axes.hist(
        [scores[~is_fraud], scores[is_fraud]], edges, color=[GENUINE, FRAUD], label=["genuine", "fraud"], log=True
    )
    axes.axvline(threshold, color=NEUTRAL, label="threshold")
    axes.legend(frameon=False)
    return figure


def calibration(evaluation: "Evaluation") -> "Figure":
    """A dot for each tenth of the scores that holds rows, with how many."""
    figure, axes = _figure(f"Brier score {evaluation.brier:.4f}", "mean score", "share of fraud")
    bins = evaluation.calibration
    axes.plot([0, 1], [0, 1], color=NEUTRAL, linestyle=":", label="perfect")
    axes.plot(bins["mean_score"], bins["fraud_rate"], "o-", color=GENUINE, label="measured, with transactions")
    for score, rate, count in bins.select("mean_score", "fraud_rate", "transactions").iter_rows():
        # Beside the dot, on the side where the line does not go on.
        right = score < 0.75
        offset, side = ((6, -10), "left") if right else ((-6, -10), "right")
        axes.annotate(f"{count:,}", (score, rate), xytext=offset, textcoords="offset points", fontsize=8, ha=side)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.08, 1.04))
    axes.legend(frameon=False, loc="upper left")
    return figure


def card_precision(budgets: pl.DataFrame, k: int) -> "Figure":
    """budgets : as evaluation.budget_curve returns it. k : the budget that is marked, one of its rows."""
    at_k = budgets.row(by_predicate=pl.col("k") == k, named=True)["card_precision"]
    figure, axes = _figure(f"Card precision at {k}: {at_k:.3f}", "cards looked into a day", "share that was defrauded")
    axes.plot(budgets["k"], budgets["card_precision"], color=GENUINE)
    axes.plot(k, at_k, "o", color=FRAUD)
    axes.set_ylim(bottom=0)
    return figure


def alert_budget(budgets: pl.DataFrame, alerts_a_day: float) -> "Figure":
    """budgets : as evaluation.budget_curve returns it. alerts_a_day : what the threshold gave, for comparison."""
    figure, axes = _figure("An alert budget", "transactions looked into a day", "share")
    axes.plot(budgets["k"], budgets["alert_precision"], color=GENUINE, label="precision: of the alerts, fraud")
    axes.plot(budgets["k"], budgets["alert_recall"], color=FRAUD, label="recall: of the frauds, found")
    axes.axvline(alerts_a_day, color=NEUTRAL, linestyle=":", label=f"the threshold: {alerts_a_day:.0f} a day")
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False)
    return figure


def value_caught(
    budgets: pl.DataFrame, fraud_amount: float, alerts_a_day: float, caught_amount: float, currency: str
) -> "Figure":
    """Money against budget, in units of ``currency``, and the point (alerts a day, money) of the threshold."""
    figure, axes = _figure("Money caught", "transactions looked into a day", f"amount of fraud, {currency}")
    axes.plot(
        budgets["k"],
        to_major_units(budgets["caught_minor"].to_numpy(), minor_units(currency)),
        color=GENUINE,
        label="most suspicious first",
    )
    axes.plot(alerts_a_day, caught_amount, "o", color=FRAUD, label="the threshold")
    axes.axhline(fraud_amount, color=NEUTRAL, linestyle=":", label="all fraud")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return figure


def metrics_over_time(periods: pl.DataFrame, names: Sequence[str]) -> "Figure":
    """periods : a row a fold, in order of time: test_start Date, and a column for each of ``names``."""
    figure, axes = _figure("Each test period, and the mean", "start of the test period", "")
    days = periods["test_start"].to_list()
    for name, color in zip(names, SERIES, strict=True):
        mean = cast(float, periods[name].mean())
        axes.plot(days, periods[name], "o-", color=color, label=f"{name} {mean:.3f}")
        axes.axhline(mean, color=color, linestyle="--", linewidth=0.8, alpha=0.6)
    axes.set_xticks(days, [day.isoformat() for day in days])
    axes.set_ylim(0, 1.02)
    figure.legend(frameon=False, ncols=len(names), loc="outside lower center")
    return figure


def recall_by_day(days: pl.DataFrame) -> "Figure":
    """days : as live_quality.daily returns it."""
    figure, axes = _figure("Recall by day of payment and model version", "", "recall")
    for number, (version, own) in enumerate(days.group_by("model_version", maintain_order=True)):
        color = SERIES[number % len(SERIES)]
        known = own.filter(pl.col("recall").is_not_null())
        axes.plot(own["day"].to_list(), own["expected_recall"], "--", color=color, linewidth=0.8, alpha=0.8)
        axes.plot(
            known["day"].to_list(), known["recall"], "o-", color=color, markersize=3, label=f"version {version[0]}"
        )
    axes.plot([], [], "--", color=NEUTRAL, label="expected from the scores, without labels")
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False, fontsize=8)
    figure.autofmt_xdate()
    return figure


def feature_importance(gains: Mapping[str, float], shown: int = 20) -> "Figure":
    """gains : total gain by feature, as Booster.get_score gives it."""
    top = sorted(gains.items(), key=lambda item: item[1])[-shown:]
    figure, axes = _figure(f"Total gain of the first {len(top)} features", "", "")
    axes.barh([name for name, _ in top], [gain for _, gain in top], color=GENUINE)
    axes.tick_params(axis="y", labelsize=7)
    return figure


def cost(cpu_seconds: Mapping[str, float]) -> "Figure":
    """cpu_seconds : by step, in the order they were done."""
    figure, axes = _figure(f"{sum(cpu_seconds.values()):,.1f} CPU seconds", "CPU seconds", "")
    bars = axes.barh(list(cpu_seconds), list(cpu_seconds.values()), color=GENUINE)
    axes.bar_label(bars, fmt="{:,.1f}", padding=3, fontsize=8)
    axes.margins(x=0.12)
    axes.invert_yaxis()
    return figure


def drift_heat_map(judged: pl.DataFrame) -> "Figure":
    """judged : as drift.judge returns it. A cell is how near a name came to its limit on a day; a cross is an alarm."""
    names = sorted(judged["name"].unique())
    days = sorted(judged["day"].unique())
    figure, axes = _figure("Drift: 1 is the limit, x an alarm", "", "")
    figure.set_size_inches(1.5 + 0.35 * max(12, len(days)), 1.0 + 0.18 * len(names))
    cells = np.full((len(names), len(days)), np.nan)
    at = {value: place for order in (names, days) for place, value in enumerate(order)}
    for day, name, excess, is_alarm in judged.select("day", "name", "excess", "is_alarm").iter_rows():
        cells[at[name], at[day]] = excess
        if is_alarm:
            color = "white" if excess > 1 else "black"
            axes.text(at[day], at[name], "x", ha="center", va="center", fontsize=7, color=color)
    image = axes.imshow(cells, aspect="auto", cmap="inferno_r", vmin=0, vmax=2)
    figure.colorbar(image, ax=axes, fraction=0.03)
    axes.set_yticks(range(len(names)), names, fontsize=6)
    axes.set_xticks(range(len(days)), [f"{day:%m-%d}" for day in days], rotation=90, fontsize=6)
    return figure


def calibration_curve(fitted: "Calibration") -> "Figure":
    figure, axes = _figure(f"Calibration: {fitted.method}", "score of the trees", "probability of fraud")
    raw = np.linspace(0, 1, 501)
    axes.plot(raw, fitted.apply(raw), color=GENUINE)
    axes.plot([0, 1], [0, 1], color=NEUTRAL, linestyle=":", label="as it was")
    axes.legend()
    return figure


def _thresholds(evaluation: "Evaluation", folds: "Sequence[Evaluation]") -> str:
    return "each fold at its own threshold" if folds else f"threshold {evaluation.threshold:.3f}"


def arms(results: "dict[str, DecisionQuality]") -> "Figure":
    """results : by arm. Shares with their intervals, side by side."""
    figure, axes = _figure("Decisions of each arm, 5 to 95 % over cards", "", "")
    for number, (arm, color) in enumerate(zip(results, SERIES, strict=False)):
        shares = {name: share for name, share in results[arm].shares().items() if not np.isnan(share.value)}
        values, low, high = np.array([[share.value, share.low, share.high] for share in shares.values()]).T
        errors = np.maximum([values - low, high - values], 0)
        at = np.arange(len(shares)) + 0.2 * number
        label = f"{arm}: {results[arm].transactions:,} payments"
        axes.errorbar(at, values, errors, fmt="o", color=color, capsize=3, label=label)
        axes.set_xticks(np.arange(len(shares)), [name.replace("_", " ") for name in shares])
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False)
    return figure


def _figure(title: str, x: str, y: str) -> "tuple[Figure, Axes]":
    # The class instead of pyplot: no global state, no display, nothing to close.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
