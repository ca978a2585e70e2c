"""The numbers of a backtest as plain JSON types, with what each means; nothing is drawn here.

Folds are summarised in two ways: ``mean_over_folds``, as published results are, and ``pooled_over_folds``, all scored
rows at once, each with its own fold's threshold.
"""

import math
from typing import Any

import numpy as np
import polars as pl

from fraud_core.backtest.result import BacktestResult, FoldResult
from fraud_core.evaluation.report import Evaluation, evaluate
from fraud_core.money import minor_units, to_major_units
from fraud_core.timestamps import DAY_MS, iso_date

JSON_POINTS = 100
BEST_CANDIDATES = 5

KEYS = {
    "options": "as given on the command line",
    "data": "transactions and frauds in the files, optional columns used, and warnings: how many rows each is about",
    "data.currencies": "currency by currency: transactions that were converted into data.currency, and those that were "
    "not, their amounts in their own currency, and what the converted ones are worth",
    "overall.mean_over_folds": "mean of each fold's metric; published results are of this kind",
    "overall.std_over_folds": "population standard deviation over folds; null for one fold",
    "overall.pooled_over_folds": "measured on the test rows of all folds at once; threshold is the mean over rows",
    "folds.periods": "ISO dates, UTC midnights, [start, end), end exclusive",
    "metrics.card_precision_at_K": "mean over days of the share of defrauded among the K most suspicious cards; a card "
    "found on one day is left out of later days",
    "metrics.repeated_card_precision_at_K": "the same with found cards looked into, and counted, again",
    "metrics.alert_precision_at_K": "share of fraud among the K most suspicious transactions of each day",
    "metrics.alert_recall_at_K": "share of all frauds that are among them",
    "metrics.value_caught": "flagged share of what all frauds with an exchange rate are worth; null without one",
    "metrics.caught_amount, fraud_amount": "amount of the flagged frauds, and of all frauds, in units of "
    "data.currency; those without a rate left out",
    "metrics.alerts_a_day": "flagged transactions for each day of the test period",
    "folds.threshold": "chosen on validation, with what it reached there; interval: 5 to 95 % of resampled cards",
    "folds.seconds": "CPU and wall seconds by step",
    "folds.excluded": "cards, and rows, left out of the test because the card's fraud was known before",
    "folds.search": "the best candidates by average precision inside the training period",
    "curves": "thinned out to about 100 points",
    "metrics.precision": "null when nothing was flagged",
    "nulls": "why a number is null, by its path",
}


def pool(folds: tuple[FoldResult, ...]) -> pl.DataFrame:
    """The scored rows of all folds with their threshold. Folds may overlap, so each has days and cards of its own."""
    far_apart_ms = 100_000 * DAY_MS
    return pl.concat(
        fold.scored.with_columns(
            pl.format("{}/{}", pl.lit(number), "user_id").alias("user_id"),
            pl.col("event_time_ms") + number * far_apart_ms,
            threshold=pl.lit(fold.threshold.value),
        )
        for number, fold in enumerate(folds)
    )


def pooled_evaluation(folds: tuple[FoldResult, ...], rows: pl.DataFrame) -> Evaluation:
    """rows : as ``pool`` returns them. The evaluation of a single fold is that fold's."""
    if len(folds) == 1:
        return folds[0].evaluation
    k = folds[0].evaluation.k
    return evaluate(rows, rows["score"].to_numpy(), rows["threshold"].to_numpy(), k=k)


def test_days(fold: FoldResult) -> float:
    start, end = fold.split.test
    return (end - start) / DAY_MS


def measures(evaluation: Evaluation, rows: pl.DataFrame, days: float, currency: str) -> dict[str, float]:
    """The metrics of ``evaluation`` and, from its scored rows, money in units of ``currency`` and alerts a day."""
    frauds, units = rows.filter("is_fraud"), minor_units(currency)
    return evaluation.metrics() | {
        "fraud_amount": to_major_units(int(frauds["value_minor"].sum()), units),
        "caught_amount": to_major_units(int(frauds.filter("is_flagged")["value_minor"].sum()), units),
        "alerts_a_day": int(rows["is_flagged"].sum()) / days,
    }


def numbers(result: BacktestResult, rows: pl.DataFrame, pooled: Evaluation, budgets: pl.DataFrame) -> dict[str, Any]:
    """Everything of report.json. rows, pooled : see ``pool``; budgets : evaluation.budget_curve of the rows.

    A number that is not finite becomes null, and ``nulls`` says why.
    """
    by_fold = [measures(fold.evaluation, fold.scored, test_days(fold), result.currency) for fold in result.folds]
    one = len(by_fold) == 1
    nulls: dict[str, str] = {}
    content = {
        "keys": KEYS,
        "options": result.options,
        "data": {
            "transactions": result.transactions,
            "frauds": result.frauds,
            "columns_used": list(result.columns_used),
            "warnings": result.warnings,
            "currency": result.currency,
            "currencies": result.currencies.to_dicts(),
        },
        "overall": {
            "folds": len(by_fold),
            "mean_over_folds": {name: float(np.mean([fold[name] for fold in by_fold])) for name in by_fold[0]},
            "std_over_folds": None if one else {n: float(np.std([fold[n] for fold in by_fold])) for n in by_fold[0]},
            "pooled_over_folds": measures(pooled, rows, sum(test_days(fold) for fold in result.folds), result.currency),
        },
        "folds": [_fold(fold, metrics) for fold, metrics in zip(result.folds, by_fold, strict=True)],
        "curves": {"budget": budgets.to_dict(as_series=False), **_curves(pooled)},
    }
    if one:
        nulls["overall.std_over_folds"] = "one fold has no spread"
    for number, fold in enumerate(result.folds):
        if not fold.calibration.log_loss:
            nulls[f"folds.{number}.calibration.log_loss"] = "no comparison of methods"
    finite: dict[str, Any] = _finite(content, "", nulls)
    return finite | {"nulls": nulls}


def _fold(fold: FoldResult, metrics: dict[str, float]) -> dict[str, Any]:
    threshold = fold.threshold
    return {
        "fold": fold.fold,
        "periods": {name: [iso_date(start), iso_date(end)] for name, (start, end) in fold.split.parts().items()},
        "train_rows": fold.train_rows,
        "train_frauds": fold.train_frauds,
        "metrics": metrics,
        "threshold": {
            "value": threshold.value,
            "interval": list(threshold.interval),
            "f2_validation": threshold.f_beta,
            "precision_validation": threshold.precision,
            "recall_validation": threshold.recall,
        },
        "smote_ratio": fold.smote_ratio,
        "calibration": {"method": fold.calibration.method, "log_loss": fold.calibration.log_loss},
        "params": fold.params,
        "search": fold.search.sort("average_precision", descending=True).head(BEST_CANDIDATES).to_dicts(),
        "importance": fold.importance,
        "seconds": {"cpu": fold.cpu_seconds, "wall": fold.wall_seconds},
        "excluded": {"cards": fold.excluded_cards, "rows": fold.excluded_rows},
        "curves": _curves(fold.evaluation),
    }


def _curves(evaluation: Evaluation) -> dict[str, Any]:
    shown = np.unique(np.linspace(0, evaluation.curve.height - 1, JSON_POINTS).astype(int))
    return {
        "threshold": evaluation.curve[shown].to_dict(as_series=False),
        "calibration": evaluation.calibration.to_dict(as_series=False),
    }


def _finite(value: Any, path: str, nulls: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item, f"{path}.{key}".lstrip("."), nulls) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item, f"{path}.{number}", nulls) for number, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        is_precision = path.endswith(".precision")
        is_value = path.endswith(".value_caught")
        why = "no fraud could be converted" if is_value else f"not a finite number: {value}"
        nulls[path] = "without an alert there is no precision" if is_precision else why
        return None
    return value
