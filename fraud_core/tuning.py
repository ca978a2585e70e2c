"""The search for the SMOTE ratio and the tree settings, and the final fit.

Candidates are judged on later, label-complete rows (purged time-ordered folds) by average precision. SMOTE runs inside
each fold. Only the search works on a sample of the genuine rows; the final model is fitted on all of them.

Weights: a genuine row of the sample stands for ``genuine_weight`` transactions, a fraud, real or synthetic, for one.
The weight thus follows from the label alone, so the classifier and the scorer derive it where they need it. Passing a
weight per row instead would break at SMOTE, which returns rows that have none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import polars as pl
from imblearn.pipeline import Pipeline
from scipy.stats import loguniform, randint, uniform
from sklearn.metrics import average_precision_score
from sklearn.model_selection import ParameterSampler, RandomizedSearchCV
from sklearn.preprocessing import StandardScaler
from xgboost import Booster, XGBClassifier

from fraud_core.balancing import NEIGHBOURS, FraudTarget, SearchSample, ratio_of, search_sample, smote
from fraud_core.split import PurgedTimeSeriesSplit

RATIOS = (0.0, 0.02, 0.05, 0.1)

# The first candidate of every search, so that a short search is never worse (in its folds) than these.
# min_child_weight is a sum of p (1 - p). At a base rate of 0.5 % a value of 5 asks for a thousand rows a leaf: trees
# without SMOTE stay stumps (average precision 0.38 instead of 0.66), and SMOTE looks like the miracle it is not.
DEFAULTS = {
    "n_estimators": 200,
    "learning_rate": 0.08,
    "max_depth": 6,
    "min_child_weight": 1.0,
    "subsample": 0.8,
    "colsample_bytree": 0.5,
    "reg_lambda": 2.0,
}

# At most 300 trees of depth 8: the stream pays for each tree with every transaction.
SPACE = {
    "n_estimators": randint(100, 301),
    "learning_rate": loguniform(0.03, 0.2),
    "max_depth": randint(4, 9),
    "min_child_weight": loguniform(0.1, 10.0),
    "subsample": uniform(0.6, 0.4),
    "colsample_bytree": uniform(0.3, 0.6),
    "reg_lambda": loguniform(0.3, 20.0),
}

# 256 bins order candidates well enough; the final fit gains from more.
FINAL_MAX_BIN = 1024

# Candidates evaluated between two reports of progress: enough to keep the processes busy, few enough to see it move.
CANDIDATES_A_CALL = 2
TARGET = "smote__sampling_strategy"

Progress = Callable[[int, int, float], None]
"""Called with candidates done, candidates in all, and the best average precision so far."""


@dataclass(frozen=True)
class RatioChoice:
    """ratio : frauds per genuine row. table : ratio, average_precision (mean), its std and each fold's."""

    ratio: float
    table: pl.DataFrame


@dataclass(frozen=True)
class Tuning:
    """params : of XGBClassifier. table : one row a candidate, its settings, average precisions and seconds."""

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
    progress: Progress | None = None,
) -> RatioChoice:
    """The ratio with the best mean average precision at default tree settings; of equals, the smallest.

    train : real training rows; event_time_ms, is_fraud, features. No SMOTE (ratio 0) is always among the candidates.
    gap_ms : between training and validation of a fold; the label delay.
    """
    sample = search_sample(train, seed)
    targets = [FraudTarget(ratio, sample.genuine_weight) for ratio in ratios if ratio > 0]
    search = _search(sample, 0.0, {TARGET: targets}, len(targets), folds, gap_ms, seed, n_jobs, progress)
    search.fit(*_matrix(sample.rows, features))
    tried = [params[TARGET].ratio if params else 0.0 for params in search.cv_results_["params"]]
    table = pl.DataFrame({"ratio": tried}).hstack(_scores(search)).sort("ratio")
    return RatioChoice(table["ratio"][table["average_precision"].arg_max()], table)


def tune(
    balanced: pl.DataFrame,
    features: Sequence[str],
    *,
    gap_ms: int,
    candidates: int,
    folds: int,
    seed: int,
    n_jobs: int = 2,
    progress: Progress | None = None,
) -> Tuning:
    """The best of ``candidates`` settings (DEFAULTS and random ones), with the SMOTE ratio of the balanced set.

    balanced : as ``balancing.balance`` returns it. Its synthetic rows are left out here: each fold makes its own.
    n_jobs : processes, of one thread each. ValueError when a fold lacks frauds.
    """
    sample = search_sample(balanced.filter(~pl.col("is_synthetic")), seed)
    space = {f"classifier__{name}": distribution for name, distribution in SPACE.items()}
    search = _search(sample, ratio_of(balanced), space, candidates - 1, folds, gap_ms, seed, n_jobs, progress)
    search.fit(*_matrix(sample.rows, features))
    tried = [
        DEFAULTS | {name.removeprefix("classifier__"): value for name, value in params.items()}
        for params in search.cv_results_["params"]
    ]
    settings = pl.DataFrame(tried)
    return Tuning(settings.row(search.best_index_, named=True), settings.hstack(_scores(search)))


def refit(balanced: pl.DataFrame, features: Sequence[str], params: dict[str, float | int], seed: int) -> Booster:
    """Fit the final model on every row of the balanced set. Same rows, parameters and seed: the same model bytes."""
    model = XGBClassifier(**params, max_bin=FINAL_MAX_BIN, **_fixed(seed))
    model.fit(*_matrix(balanced, features))
    booster = model.get_booster()
    booster.feature_names = list(features)
    return booster


class GenuineWeightedXGBClassifier(XGBClassifier):
    """XGBClassifier in whose fit a genuine row (label 0) counts ``genuine_weight`` times."""

    def __init__(self, *, genuine_weight: float = 1.0, **params: object) -> None:
        super().__init__(**params)
        self.genuine_weight = genuine_weight

    def fit(self, X: np.ndarray, y: np.ndarray) -> "GenuineWeightedXGBClassifier":  # noqa: N803
        return super().fit(X, y, sample_weight=_weights(y, self.genuine_weight))

    def get_xgb_params(self) -> dict[str, object]:
        params = super().get_xgb_params()
        del params["genuine_weight"]
        return params


class _ProgressingSearchCV(RandomizedSearchCV):
    """RandomizedSearchCV that tries the estimator as it is first, and tells its progress after every few candidates."""

    def __init__(self, *, progress: Progress | None, **options: object) -> None:
        super().__init__(**options)
        self.progress = progress

    def _run_search(self, evaluate_candidates: Callable) -> None:
        drawn = ParameterSampler(self.param_distributions, self.n_iter, random_state=self.random_state)
        candidates = iter([{}, *drawn])
        done = 0
        while few := list(islice(candidates, CANDIDATES_A_CALL)):
            results = evaluate_candidates(few)
            done += len(few)
            if self.progress:
                self.progress(done, self.n_iter + 1, float(results["mean_test_score"].max()))

    def __getstate__(self) -> dict:
        # scikit-learn sends the search along to the worker processes; the callback may hold what cannot be pickled.
        return super().__getstate__() | {"progress": None}


def _search(
    sample: SearchSample,
    ratio: float,
    space: dict,
    drawn: int,
    folds: int,
    gap_ms: int,
    seed: int,
    n_jobs: int,
    progress: Progress | None,
) -> _ProgressingSearchCV:
    """A search over the whole recipe: DEFAULTS and ``ratio`` first, then ``drawn`` candidates from ``space``."""
    weight = sample.genuine_weight
    classifier = GenuineWeightedXGBClassifier(genuine_weight=weight, **DEFAULTS, **_fixed(seed))
    purged = PurgedTimeSeriesSplit(sample.rows["event_time_ms"].to_numpy(), folds, gap_ms)
    purged.require_frauds(sample.rows["is_fraud"].to_numpy(), at_least=NEIGHBOURS + 1)
    return _ProgressingSearchCV(
        estimator=Pipeline(
            [
                ("scale", StandardScaler()),
                ("smote", smote(FraudTarget(ratio, weight), seed)),
                ("classifier", classifier),
            ]
        ),
        param_distributions=space,
        n_iter=drawn,
        scoring=partial(_average_precision, genuine_weight=weight),
        cv=purged,
        n_jobs=n_jobs,
        random_state=seed,
        error_score="raise",
        refit=False,
        progress=progress,
    )


def _average_precision(pipeline: Pipeline, rows: np.ndarray, y: np.ndarray, genuine_weight: float) -> float:
    """At the true base rate, although genuine rows were under-sampled."""
    scores = pipeline.predict_proba(rows)[:, 1]
    return average_precision_score(y, scores, sample_weight=_weights(y, genuine_weight))


def _weights(y: np.ndarray, genuine_weight: float) -> np.ndarray:
    return np.where(y == 1, 1.0, genuine_weight)


def _matrix(rows: pl.DataFrame, features: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    return rows.select(features).to_numpy(), rows["is_fraud"].to_numpy().astype(np.int8)


def _fixed(seed: int) -> dict[str, object]:
    # One thread: processes share the cores better than threads do, and the sums come out the same every time.
    return {"tree_method": "hist", "n_jobs": 1, "random_state": seed}


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
