"""The backtest itself: for each fold, train as the daily run would have on that day, then score the days after it.

The steps are the daily run's own functions, in its order; only the periods are others. Features are computed once, over
everything: each is as it was when its transaction arrived, so a fold cannot see what came later.
"""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from fraud_core.backtest.cost import Cost
from fraud_core.backtest.known_cards import has_known_fraud
from fraud_core.backtest.periods import Fold
from fraud_core.backtest.result import BacktestResult, FoldResult
from fraud_core.evaluation.report import evaluate
from fraud_core.features.table import FEATURES
from fraud_core.labels.known import label_transactions
from fraud_core.model.calibration import calibrate
from fraud_core.model.fraud_model import FraudModel, ModelCard
from fraud_core.model.threshold import choose_threshold
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS, iso_date
from fraud_core.training.balancing import balance
from fraud_core.training.search import choose_smote_ratio, refit, tune
from fraud_core.training.training_set import ROW_COLUMNS, feature_rows

EVER_MS = np.iinfo(np.int64).max

Progress = Callable[[str], None]


def run_backtest(
    transactions: pl.DataFrame,
    labels: pl.DataFrame,
    folds: Sequence[Fold],
    settings: Settings,
    *,
    exclude_known_compromised: bool,
    progress: Progress,
) -> BacktestResult:
    """Train and judge fold by fold.

    transactions : transaction.COLUMNS in order of arrival, each transaction_id once. labels : labels.LABEL_COLUMNS.
    The truth about a test row is its last label, whenever that came; without one it is genuine.
    ValueError, naming dates and counts, when a period lacks a class or rows.
    """
    is_needed = transactions["event_time_ms"] < max(fold.split.test[1] for fold in folds)
    truth = label_transactions(transactions, labels, EVER_MS, settings.label_delay_days)
    frauds = int(truth.sum())
    arrived, truth = transactions.filter(is_needed), truth.filter(is_needed)
    for fold in folds:
        _labelled(arrived, labels, truth, fold, settings)  # what cannot be trained is known before the work begins
    cost = Cost()
    progress("features")
    with cost.of("features"):
        features = feature_rows(arrived, labels, settings.label_delay_days)
    results = []
    for fold in folds:
        rows = _labelled(features, labels, truth, fold, settings)
        name = f"fold {fold.number} of {len(folds)}: " if len(folds) > 1 else ""
        test = rows.filter(pl.col("split") == "test")
        left_out = test.clear()
        if exclude_known_compromised:
            is_known = has_known_fraud(test, arrived, labels, fold, settings.label_delay_days)
            test, left_out = test.filter(~is_known), test.filter(is_known)
        results.append(
            _run_fold(rows, test, left_out, fold, settings, cost, lambda what, name=name: progress(name + what))
        )
        cost = Cost()
    warnings = _unripe(results, labels, settings.label_delay_days) | _silent(results)
    return BacktestResult(tuple(results), {}, transactions.height, frauds, warnings)


def _silent(folds: Sequence[FoldResult]) -> dict[str, int]:
    silent = [fold for fold in folds if not fold.scored["is_flagged"].any()]
    tests = ", ".join(" to ".join(map(iso_date, fold.split.test)) for fold in silent)
    why = f"test periods without an alert, and so without precision ({tests}): no score reached the threshold"
    return {why: len(silent)} if silent else {}


def _unripe(folds: Sequence[FoldResult], labels: pl.DataFrame, label_delay_days: int) -> dict[str, int]:
    """A warning where the labels end before those of the test can all have come. A day without labels is no sign."""
    newest_ms = labels["label_time_ms"].max()
    complete_ms = newest_ms - (label_delay_days - 1) * DAY_MS
    young = folds[-1].scored.filter(pl.col("event_time_ms") > complete_ms).height
    why = (
        f"test transactions after {iso_date(complete_ms)}, whose labels may not all have come (the newest label is of "
        f"{iso_date(newest_ms)}): without one they are taken as genuine"
    )
    return {why: young} if young else {}


def _labelled(
    rows: pl.DataFrame, labels: pl.DataFrame, truth: pl.Series, fold: Fold, settings: Settings
) -> pl.DataFrame:
    """The rows of a fold's periods with ``split`` and ``is_fraud``: as known on the day of the training; test as known
    since."""
    known = label_transactions(rows, labels, fold.as_of_ms, settings.label_delay_days)
    split = fold.split.assign(rows["event_time_ms"])
    labelled = rows.with_columns(split=split, is_fraud=pl.when(split == "test").then(truth).otherwise(known)).filter(
        split.is_not_null()
    )
    fold.split.require_both_classes(labelled)
    return labelled


def _run_fold(
    rows: pl.DataFrame,
    test: pl.DataFrame,
    left_out: pl.DataFrame,
    fold: Fold,
    settings: Settings,
    cost: Cost,
    progress: Progress,
) -> FoldResult:
    """rows : as ``_labelled`` gives them, with FEATURES. test, left_out : the test rows to score and those not to."""
    train, validation = (rows.filter(pl.col("split") == name) for name in ("train", "validation"))
    search = {"gap_ms": settings.label_delay_days * DAY_MS, "folds": settings.search_folds, "seed": settings.seed}

    progress(f"SMOTE ratio, on {train.height:,} transactions")
    with cost.of("smote ratio"):
        ratio = choose_smote_ratio(train, FEATURES, **search).ratio
        balanced = balance(train, FEATURES, ratio, settings.seed)
    with cost.of("search"):
        tuning = tune(
            balanced,
            FEATURES,
            candidates=settings.search_candidates,
            **search,
            progress=lambda done, all_of, best: progress(f"search, {done} of {all_of}, average precision {best:.3f}"),
        )
    progress("fit")
    with cost.of("fit"):
        booster = refit(balanced, FEATURES, tuning.params, settings.seed)
    model = FraudModel(booster, ModelCard(1.0, train["is_fraud"].mean(), fold.split.train))
    with cost.of("threshold"):
        is_fraud, raw = validation["is_fraud"].to_numpy(), _raw_score(model, validation)
        calibration = calibrate(is_fraud, raw, validation["user_id"])
        threshold = choose_threshold(is_fraud, calibration.apply(raw), validation["user_id"], seed=settings.seed)

    progress(f"score {test.height:,} transactions")
    with cost.of("score"):
        scores = calibration.apply(_raw_score(model, test))
        try:
            evaluation = evaluate(test, scores, threshold.value)
        except ValueError as error:
            days = " to ".join(map(iso_date, fold.split.test))
            raise ValueError(f"the test period {days} (end exclusive) cannot be judged: {error}") from error
    return FoldResult(
        fold=fold.number,
        split=fold.split,
        scored=test.select(*ROW_COLUMNS, "is_fraud", score=scores, is_flagged=scores >= threshold.value),
        evaluation=evaluation,
        threshold=threshold,
        calibration=calibration,
        smote_ratio=ratio,
        params=tuning.params,
        search=tuning.table,
        importance=booster.get_score(importance_type="total_gain"),
        train_rows=train.height,
        train_frauds=int(train["is_fraud"].sum()),
        cpu_seconds=cost.cpu_seconds,
        wall_seconds=cost.wall_seconds,
        excluded_cards=left_out["user_id"].n_unique(),
        excluded_rows=left_out.height,
    )


def _raw_score(model: FraudModel, rows: pl.DataFrame) -> np.ndarray:
    return model.raw_score(rows.select(FEATURES).to_numpy())
