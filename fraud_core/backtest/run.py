"""The backtest: for each fold, train as the daily run would have on that day, then score the days after it.

The recipe is the daily run's; only the periods differ. Features are computed once, over all transactions: each is as it
was when its transaction arrived, so a fold cannot see what came later.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import polars as pl

from fraud_core.backtest.cost import Cost
from fraud_core.backtest.known_cards import has_known_fraud
from fraud_core.backtest.periods import Fold
from fraud_core.backtest.result import BacktestResult, FoldResult
from fraud_core.evaluation.currencies import by_currency
from fraud_core.evaluation.report import evaluate
from fraud_core.features.exchange_rates import ExchangeRates
from fraud_core.features.table import FEATURES
from fraud_core.labels.known import label_transactions
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS, iso_date, latest_ms
from fraud_core.training.recipe import train
from fraud_core.training.training_set import ROW_COLUMNS, feature_rows

EVER_MS = np.iinfo(np.int64).max


def run_backtest(
    transactions: pl.DataFrame,
    labels: pl.DataFrame,
    folds: Sequence[Fold],
    settings: Settings,
    exchange_rates: ExchangeRates,
    *,
    exclude_known_compromised: bool,
    progress: Callable[[str], None],
) -> BacktestResult:
    """Train and evaluate fold by fold.

    transactions : transaction.COLUMNS in order of arrival, each transaction_id once. labels : known.LABEL_COLUMNS.
    The truth of a test row is its last label, whenever it came; without one it is genuine.
    ValueError, naming dates and counts, when a period lacks a class or rows.
    """
    is_needed = transactions["event_time_ms"] < max(fold.split.test[1] for fold in folds)
    truth = label_transactions(transactions, labels, EVER_MS, settings.label_delay_days)
    frauds = int(truth.sum())
    arrived, truth = transactions.filter(is_needed), truth.filter(is_needed)
    for fold in folds:
        _labelled(arrived, labels, truth, fold, settings)  # fail before the expensive work begins
    cost = Cost()
    progress("features")
    with cost.of("features"):
        features = feature_rows(arrived, labels, settings.label_delay_days, exchange_rates)
    results = []
    for fold in folds:
        rows = _labelled(features, labels, truth, fold, settings)
        name = f"fold {fold.number} of {len(folds)}: " if len(folds) > 1 else ""
        test = rows.filter(pl.col("split") == "test")
        left_out = test.clear()
        if exclude_known_compromised:
            is_known = has_known_fraud(test, arrived, labels, fold, settings.label_delay_days)
            test, left_out = test.filter(~is_known), test.filter(is_known)
        results.append(_run_fold(rows, test, left_out, fold, settings, cost, _prefixed(progress, name)))
        cost = Cost()
    warnings = _immature(results, labels, settings.label_delay_days) | _silent(results)
    currencies = by_currency(features, settings.currency)
    return BacktestResult(tuple(results), {}, transactions.height, frauds, settings.currency, currencies, warnings)


def _silent(folds: Sequence[FoldResult]) -> dict[str, int]:
    silent = [fold for fold in folds if not fold.scored["is_flagged"].any()]
    tests = ", ".join(" to ".join(map(iso_date, fold.split.test)) for fold in silent)
    why = f"test periods without an alert, and so without precision ({tests}): no score reached the threshold"
    return {why: len(silent)} if silent else {}


def _prefixed(progress: Callable[[str], None], prefix: str) -> Callable[[str], None]:
    return lambda what: progress(prefix + what)


def _immature(folds: Sequence[FoldResult], labels: pl.DataFrame, label_delay_days: int) -> dict[str, int]:
    """A warning where the labels end before those of the test are mature. One day without labels is no such sign."""
    newest_ms = latest_ms(labels["label_time_ms"])
    complete_ms = newest_ms - (label_delay_days - 1) * DAY_MS
    immature = folds[-1].scored.filter(pl.col("event_time_ms") > complete_ms).height
    why = (
        f"test transactions after {iso_date(complete_ms)}, whose labels may not all have come (the newest label is of "
        f"{iso_date(newest_ms)}): without one they are taken as genuine"
    )
    return {why: immature} if immature else {}


def _labelled(
    rows: pl.DataFrame, labels: pl.DataFrame, truth: pl.Series, fold: Fold, settings: Settings
) -> pl.DataFrame:
    """The rows of a fold's periods with ``split`` and ``is_fraud``: as known on the day of the training, and for the
    test as known since."""
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
    progress: Callable[[str], None],
) -> FoldResult:
    """rows : as ``_labelled`` gives them, with FEATURES. test, left_out : the test rows to score and those not to."""
    is_fraud = rows.filter(pl.col("split") == "train")["is_fraud"]
    begins = {"smote ratio": f"SMOTE ratio, on {len(is_fraud):,} transactions", "fit": "fit"}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        if name in begins:
            progress(begins[name])
        with cost.of(name):
            yield

    trained = train(
        rows,
        fold.split.train,
        settings,
        with_detector=False,  # it routes payments to review, which a backtest does not judge
        step=step,
        progress=lambda done, all_of, best: progress(f"search, {done} of {all_of}, average precision {best:.3f}"),
    )
    threshold = trained.threshold
    progress(f"score {test.height:,} transactions")
    with cost.of("score"):
        scores = trained.model.score(test.select(FEATURES).to_numpy())
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
        calibration=trained.model.card.calibration,
        smote_ratio=trained.smote_ratio,
        params=trained.tuning.params,
        search=trained.tuning.table,
        importance=trained.model.total_gain(),
        train_rows=len(is_fraud),
        train_frauds=int(is_fraud.sum()),
        cpu_seconds=cost.cpu_seconds,
        wall_seconds=cost.wall_seconds,
        excluded_cards=left_out["user_id"].n_unique(),
        excluded_rows=left_out.height,
    )
