"""What a backtest found, as report.json for programs and report.html for a fraud team. Nothing is measured here."""

import json
import re
from collections import Counter
from dataclasses import dataclass
from datetime import date
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from fraud_core import plots
from fraud_core.backtest.numbers import numbers, pool, pooled_evaluation
from fraud_core.backtest.result import BacktestResult
from fraud_core.evaluation.report import BUDGETS, Evaluation, budget_curve
from fraud_core.training.search import TOLERANCE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TEMPLATE = Path(__file__).with_name("report.html")


@dataclass(frozen=True)
class Report:
    """``json`` is the text of report.json, ``html`` the page; both UTF-8 and complete in themselves."""

    json: str
    html: str


def make_report(result: BacktestResult) -> Report:
    rows = pool(result.folds)
    pooled = pooled_evaluation(result.folds, rows)
    budgets = budget_curve(rows, rows["score"].to_numpy(), sorted({*BUDGETS, pooled.k}))
    content = numbers(result, rows, pooled, budgets)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        **content, k=pooled.k, tolerance=TOLERANCE, figures=_figures(result, rows, pooled, budgets, content)
    )
    return Report(json.dumps(content, indent=1, allow_nan=False) + "\n", page)


def _figures(
    result: BacktestResult, rows: pl.DataFrame, pooled: Evaluation, budgets: pl.DataFrame, content: dict[str, Any]
) -> dict[str, Markup]:
    folds = [fold.evaluation for fold in result.folds] if len(result.folds) > 1 else []
    lows, highs = zip(*(fold.threshold.interval for fold in result.folds), strict=True)
    overall = content["overall"]["pooled_over_folds"]
    shown = {
        "AP": "average_precision",
        "F2": "f2",
        "ROC AUC": "roc_auc",
        f"CP@{pooled.k}": f"card_precision_at_{pooled.k}",
    }
    periods = pl.DataFrame(
        {
            "test_start": [date.fromisoformat(fold["periods"]["test"][0]) for fold in content["folds"]],
            **{title: [fold["metrics"][name] for fold in content["folds"]] for title, name in shown.items()},
        }
    )
    gains, seconds = (
        dict(sum((Counter(part) for part in parts), Counter()))
        for parts in ([fold.importance for fold in result.folds], [fold.cpu_seconds for fold in result.folds])
    )
    is_fraud, scores = rows["is_fraud"].to_numpy(), rows["score"].to_numpy()
    drawn = {
        "precision_recall": plots.precision_recall(pooled, folds),
        "f2": plots.f2_against_threshold(pooled, (min(lows), max(highs)), folds),
        "confusion": plots.confusion_matrix(pooled),
        "card_precision": plots.card_precision(budgets, pooled.k),
        "alert_budget": plots.alert_budget(budgets, overall["alerts_a_day"]),
        "value": plots.value_caught(
            budgets, overall["fraud_amount"], overall["alerts_a_day"], overall["caught_amount"], result.currency
        ),
        "scores": plots.score_distribution(is_fraud, scores, pooled.threshold),
        "calibration": plots.calibration(pooled),
        "over_time": plots.metrics_over_time(periods, list(shown)),
        "importance": plots.feature_importance(gains),
        "cost": plots.cost(seconds),
    }
    return {name: _svg(figure) for name, figure in drawn.items()}


def _svg(figure: "Figure") -> Markup:
    """The figure as inline SVG: text stays text, black becomes the page's text colour, and it holds no URL."""
    import matplotlib as mpl

    text = StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href", "href").replace("#000000", "currentColor")
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    # Group ids repeat across figures, and nothing refers to them.
    return Markup(re.sub(r'<g id="[^"]*"', "<g", svg))
