"""A backtest's result made from simulated scores by the project's own functions, for tests of the report."""

import numpy as np
import polars as pl

from fraud_core.backtest.result import BacktestResult, FoldResult
from fraud_core.evaluation.currencies import by_currency
from fraud_core.evaluation.report import evaluate
from fraud_core.model.calibration import calibrate
from fraud_core.model.threshold import Threshold, choose_threshold
from fraud_core.timestamps import DAY_MS
from fraud_core.training.split import TimeSplit


def fold_of(
    number: int, rows: int = 2_000, frauds: int = 60, threshold: float | None = None, first_day: int = 17_800
) -> FoldResult:
    """Seven test days that start 7 x number days later; threshold : one to use instead of the best."""
    rng = np.random.default_rng(number)
    start = (first_day + 7 * number) * DAY_MS
    is_fraud = np.zeros(rows, bool)
    is_fraud[rng.choice(rows, frauds, replace=False)] = True
    raw = rng.beta(np.where(is_fraud, 4, 1), np.where(is_fraud, 2, 20))
    users = pl.Series(rng.integers(rows // 8, size=rows)).cast(pl.String)
    calibration = calibrate(is_fraud, raw, users)
    scores = calibration.apply(raw)
    chosen = choose_threshold(is_fraud, scores, users, resamples=20)
    if threshold is not None:
        chosen = Threshold(threshold, chosen.f_beta, chosen.precision, chosen.recall, chosen.interval)
    scored = pl.DataFrame(
        {
            "transaction_id": [f"t{number}-{row}" for row in range(rows)],
            "user_id": users,
            "event_time_ms": start + np.sort(rng.integers(7 * DAY_MS, size=rows)),
            "currency": "EUR",
            "amount_minor": (amounts := rng.integers(1, 50_000, size=rows)),
            "value_minor": amounts,
            "is_fraud": is_fraud,
            "score": scores,
            "is_flagged": scores >= chosen.value,
        }
    )
    return FoldResult(
        fold=number,
        split=TimeSplit(
            (start - 81 * DAY_MS, start - 21 * DAY_MS),
            (start - 14 * DAY_MS, start - 7 * DAY_MS),
            (start, start + 7 * DAY_MS),
        ),
        scored=scored,
        evaluation=evaluate(scored, scores, chosen.value),
        threshold=chosen,
        calibration=calibration,
        smote_ratio=0.02,
        params={"max_depth": 6, "learning_rate": 0.08},
        search=pl.DataFrame({"max_depth": [6, 5], "average_precision": [0.6, 0.7], "fit_seconds": [1.0, 2.0]}),
        importance={"amount": 20.0, "merchant_fraud_rate_7d": 90.0},
        train_rows=20_000,
        train_frauds=600,
        cpu_seconds={"features": 1.0, "search": 9.5, "fit": 2.0},
        wall_seconds={"features": 1.0, "search": 5.0, "fit": 2.0},
        excluded_cards=3,
        excluded_rows=12,
    )


def result_of(*folds: FoldResult, **changed: object) -> BacktestResult:
    about = {
        "options": {"train-days": "60"},
        "transactions": 90_000,
        "frauds": 700,
        "currency": "EUR",
        "currencies": by_currency(folds[0].scored, "EUR"),
    } | changed
    return BacktestResult(folds=folds, **about)
