"""The search for the SMOTE ratio and the tree settings, and the final fit.

Candidates are judged by average precision on later rows with mature labels (purged, time-ordered folds). SMOTE runs
inside each fold. The search samples few of the genuine rows, the final fit uses most.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import numpy as np
import polars as pl
from joblib import parallel_config
from scipy.stats import loguniform, randint, uniform
from sklearn.model_selection import ParameterSampler, RandomizedSearchCV
from xgboost import Booster

from fraud_core.training.balancing import NEIGHBOURS, SearchSample, ratio_of, search_sample
from fraud_core.training.candidate import Candidate, FoldMatrices, matrix
from fraud_core.training.split import PurgedTimeSeriesSplit
from fraud_core.training.trees import binned, grow

RATIOS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

# The first candidate of every search, so that in its folds no search does worse than these.
# min_child_weight is a sum of p (1 - p). At a base rate of 0.5 % a value of 5 requires a thousand rows per leaf: trees
# without SMOTE stay stumps (average precision 0.38 instead of 0.66), and the gain from SMOTE is overstated.
DEFAULTS = {
    "n_estimators": 200,
    "learning_rate": 0.08,
    "max_depth": 6,
    "min_child_weight": 1.0,
    "subsample": 0.8,
    "colsample_bytree": 0.5,
    "reg_lambda": 2.0,
}

# At most 300 trees of depth 8: the stream evaluates every tree for every transaction.
SPACE = {
    "n_estimators": randint(100, 301),
    "learning_rate": loguniform(0.03, 0.2),
    "max_depth": randint(4, 9),
    "min_child_weight": loguniform(0.1, 10.0),
    "subsample": uniform(0.6, 0.4),
    "colsample_bytree": uniform(0.3, 0.6),
    "reg_lambda": loguniform(0.3, 20.0),
}

# More than the usual 256 bins: the final fit gains from them.
FINAL_MAX_BIN = 1024

# Frauds are scarce, genuine rows are not: above 150,000 of them, every second to fourth gives as good a model.
FINAL_GENUINE = 150_000
FINAL_MAX_EVERY = 4

# Half as many trees with twice the learning rate rank candidates almost identically.
SEARCH_HASTE = 2

# Enough trees to compare SMOTE ratios. Fewer trees with a higher learning rate would favour high ratios.
RATIO_TREES = 100

# A difference in average precision that folds cannot resolve: of candidates this close to the best, the cheapest wins.
TOLERANCE = 0.003

# Candidates evaluated between two progress reports: enough to keep the cores busy, few enough to see progress.
CANDIDATES_A_CALL = 2

SearchProgress = Callable[[int, int, float], None]
"""Called with candidates done, candidates in all, and the best average precision so far."""


@dataclass(frozen=True)
class RatioChoice:
    """ratio : frauds per genuine row. table : ratio, average_precision (mean), its std and each fold's."""

    ratio: float
    table: pl.DataFrame


@dataclass(frozen=True)
class Tuning:
    """params : of XGBClassifier. table : one row per candidate: its parameters, average precisions and fit seconds."""

    params: dict[str, float | int]
    table: pl.DataFrame


def choose_smote_ratio(
    train: pl.DataFrame,
    features: Sequence[str],
    *,
    gap_ms: int,
    folds: int,
    seed: int,
    ratios: Sequence[float] = RATIOS,
    n_jobs: int = 2,
    progress: SearchProgress | None = None,
) -> RatioChoice:
    """The smallest ratio within TOLERANCE of the best mean average precision, with DEFAULTS but RATIO_TREES trees.

    train : real training rows: event_time_ms, is_fraud, features. No SMOTE (ratio 0) is always among the candidates.
    gap_ms : between training and validation of a fold: the label delay. ValueError when a fold lacks frauds.
    """
    sample = search_sample(train, seed)
    others = [ratio for ratio in ratios if ratio > 0]
    base = {**DEFAULTS, "n_estimators": RATIO_TREES}
    space = {"smote_ratio": others}
    search = _search(sample, features, base, space, len(others), folds, gap_ms, seed, n_jobs, progress)
    tried = [params.get("smote_ratio", 0.0) for params in search.cv_results_["params"]]
    table = pl.DataFrame({"ratio": tried}).hstack(_scores(search)).sort("ratio")
    return RatioChoice(cast(float, table.filter(_is_good(table))["ratio"].min()), table)


def tune(
    balanced: pl.DataFrame,
    features: Sequence[str],
    *,
    gap_ms: int,
    candidates: int,
    folds: int,
    seed: int,
    n_jobs: int = 2,
    progress: SearchProgress | None = None,
) -> Tuning:
    """The best of ``candidates`` parameter sets (DEFAULTS and random draws), at the SMOTE ratio of the balanced set.

    Of those within TOLERANCE of the best, the one with the fewest tree levels: the stream evaluates each.

    balanced : as ``balancing.balance`` returns it. Its synthetic rows are dropped here: each fold makes its own.
    n_jobs : threads, one fit at a time each. ValueError when a fold lacks frauds.
    """
    sample = search_sample(balanced.filter(~pl.col("is_synthetic")), seed)
    base = {**DEFAULTS, "smote_ratio": ratio_of(balanced), "haste": SEARCH_HASTE}
    search = _search(sample, features, base, SPACE, candidates - 1, folds, gap_ms, seed, n_jobs, progress)
    settings = pl.DataFrame([DEFAULTS | params for params in search.cv_results_["params"]])
    table = settings.hstack(_scores(search))
    cheapest = table.filter(_is_good(table)).sort(pl.col("n_estimators") * pl.col("max_depth"), maintain_order=True)
    return Tuning(cheapest.select(settings.columns).row(0, named=True), table)


def refit(balanced: pl.DataFrame, features: Sequence[str], params: dict[str, float | int], seed: int) -> Booster:
    """Fit the final model on the balanced set. Same rows, parameters and seed: the same model bytes.

    Above FINAL_GENUINE genuine rows, a regular subset of the genuine and synthetic rows, weighted, represents all.
    """
    is_real_fraud = balanced.select(pl.col("is_fraud") & ~pl.col("is_synthetic")).to_series().to_numpy()
    others = np.flatnonzero(~is_real_fraud)
    every = int(np.clip(np.count_nonzero(~balanced["is_fraud"].to_numpy()) // FINAL_GENUINE, 1, FINAL_MAX_EVERY))
    rows = np.sort(np.concatenate([np.flatnonzero(is_real_fraud), others[::every]]))
    weights = np.where(is_real_fraud[rows], 1.0, every)
    values, y = matrix(balanced[rows], features)
    return grow(binned(values, y, weights, FINAL_MAX_BIN, features), params, seed)


class _ProgressingSearchCV(RandomizedSearchCV):  # type: ignore[misc]  # scikit-learn has no types
    """RandomizedSearchCV that tries the given estimator first and reports progress every few candidates."""

    def __init__(self, *, progress: SearchProgress | None, **options: object) -> None:
        super().__init__(**options)
        self.progress = progress

    def _run_search(self, evaluate_candidates: Callable[..., Any]) -> None:
        drawn = ParameterSampler(self.param_distributions, self.n_iter, random_state=self.random_state)
        candidates = iter([{}, *drawn])
        done = 0
        while few := list(islice(candidates, CANDIDATES_A_CALL)):
            results = evaluate_candidates(few)
            done += len(few)
            if self.progress:
                self.progress(done, self.n_iter + 1, float(results["mean_test_score"].max()))

    def fit(self, X: np.ndarray) -> "_ProgressingSearchCV":  # noqa: N803 (scikit-learn's names)
        # XGBoost computes without the interpreter's lock, and a process would spend seconds on imports first.
        with parallel_config(backend="threading"):
            super().fit(X)
        return self


def _search(
    sample: SearchSample,
    features: Sequence[str],
    base: dict[str, Any],
    space: dict[str, Any],
    drawn: int,
    folds: int,
    gap_ms: int,
    seed: int,
    n_jobs: int,
    progress: SearchProgress | None,
) -> _ProgressingSearchCV:
    """Evaluate ``base``, then ``drawn`` candidates from ``space``, on purged folds with SMOTE inside."""
    highest_ratio = max([base.get("smote_ratio", 0.0), *space.get("smote_ratio", ())])
    times, is_fraud = (sample.rows[name].to_numpy() for name in ("event_time_ms", "is_fraud"))
    purged = PurgedTimeSeriesSplit(times, is_fraud, folds, gap_ms)
    purged.require_frauds(at_least=NEIGHBOURS + 1)
    search = _ProgressingSearchCV(
        estimator=Candidate(folds=FoldMatrices(sample, features, seed, highest_ratio), seed=seed, **base),
        param_distributions=space,
        n_iter=drawn,
        cv=purged,
        n_jobs=n_jobs,
        random_state=seed,
        error_score="raise",
        refit=False,
        progress=progress,
    )
    return search.fit(np.arange(sample.rows.height)[:, np.newaxis])


def _is_good(table: pl.DataFrame) -> pl.Series:
    return table["average_precision"] >= cast(float, table["average_precision"].max()) - TOLERANCE


def _scores(search: _ProgressingSearchCV) -> pl.DataFrame:
    results = search.cv_results_
    return pl.DataFrame(
        {
            "average_precision": results["mean_test_score"],
            "average_precision_std": results["std_test_score"],
            **{f"fold_{fold + 1}": results[f"split{fold}_test_score"] for fold in range(search.n_splits_)},
            "fit_seconds": results["mean_fit_time"],
        }
    )
