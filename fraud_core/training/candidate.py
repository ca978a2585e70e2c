"""A candidate of the search: parameters drawn by scikit-learn's search, fitted on a fold and scored on later rows.

Weights: a genuine row of the search's sample represents several transactions, and a synthetic fraud as many, so that a
high SMOTE ratio adds no more rows than necessary.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
import polars as pl
import xgboost as xgb
from sklearn.base import BaseEstimator
from sklearn.metrics import average_precision_score

from fraud_core.training.balancing import SearchSample, frauds_to_add, synthetic_frauds
from fraud_core.training.trees import binned, grow

# Few bins order candidates well enough and cost half.
MAX_BIN = 64


def matrix(rows: pl.DataFrame, features: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Values, (n, len(features)) of the features' dtype, and labels, (n,) int8: 1 is fraud."""
    return rows.select(features).to_numpy(order="c"), rows["is_fraud"].to_numpy().astype(np.int8)


class FoldMatrices:
    """What the candidates of a search are fitted on: SMOTE runs once per fold, binning once per fold and ratio.

    The search passes row numbers of ``sample.rows`` only. Each ratio takes a prefix of the synthetic frauds that a fold
    made for ``highest_ratio``.
    """

    def __init__(self, sample: SearchSample, features: Sequence[str], seed: int, highest_ratio: float) -> None:
        self.values, self.y = matrix(sample.rows, features)
        self.weight = sample.genuine_weight
        self._every = sample.fitted_every
        self._seed = seed
        self._highest_ratio = highest_ratio
        self._made: dict[bytes, np.ndarray] = {}
        self._binned: dict[tuple[bytes, float], xgb.QuantileDMatrix] = {}

    def binned(self, rows: np.ndarray, smote_ratio: float) -> xgb.QuantileDMatrix:
        """``balanced``, binned for XGBoost."""
        fold = rows.tobytes(), smote_ratio
        if fold not in self._binned:  # two threads may both compute it, with equal results
            values, y, weights = self.balanced(rows, smote_ratio)
            self._binned[fold] = binned(values, y, weights, MAX_BIN)
        return self._binned[fold]

    def balanced(self, rows: np.ndarray, smote_ratio: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values, labels and weights of a fold's training rows.

        Every fraud; some of the genuine rows, weighted to represent all; and synthetic frauds up to ``smote_ratio`` per
        genuine transaction, each weighted like a genuine row.
        """
        genuine = rows[self.y[rows] == 0]
        fitted = genuine[:: self._every]
        weight = self.weight * len(genuine) / len(fitted)
        kept = np.sort(np.concatenate([rows[self.y[rows] == 1], fitted]))
        values, y = self.values[kept], self.y[kept]
        most, count = (
            round(frauds_to_add(len(kept) - len(fitted), len(fitted) * weight, ratio) / weight)
            for ratio in (self._highest_ratio, smote_ratio)
        )
        fold = rows.tobytes()
        if fold not in self._made:  # as above
            self._made[fold] = synthetic_frauds(values, y == 1, most, self._seed)
        made = self._made[fold][:count]
        return (
            np.concatenate([values, made]),
            np.append(y, np.ones(len(made), y.dtype)),
            np.append(np.where(y == 1, 1.0, weight), np.full(len(made), weight)),
        )


class Candidate(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Gradient-boosted trees on some of the rows of ``folds``. X : their row numbers, (n, 1); y is ignored.

    haste : grows ``n_estimators // haste`` trees with ``haste`` times the ``learning_rate``.
    """

    def __init__(
        self,
        *,
        folds: FoldMatrices,
        seed: int,
        n_estimators: int,
        learning_rate: float,
        max_depth: int,
        min_child_weight: float,
        subsample: float,
        colsample_bytree: float,
        reg_lambda: float,
        smote_ratio: float = 0.0,
        haste: int = 1,
    ) -> None:
        self.folds = folds
        self.seed = seed
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.min_child_weight = min_child_weight
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.reg_lambda = reg_lambda
        self.smote_ratio = smote_ratio
        self.haste = haste

    def __sklearn_clone__(self) -> Self:
        return type(self)(**self.get_params(deep=False))  # ``folds`` is shared, not copied

    def fit(self, X: np.ndarray, y: object = None) -> Self:  # noqa: N803 (scikit-learn's names)
        settings = {
            "n_estimators": max(1, self.n_estimators // self.haste),
            "learning_rate": self.learning_rate * self.haste,
            "max_depth": self.max_depth,
            "min_child_weight": self.min_child_weight,
            "subsample": self.subsample,
            "colsample_bytree": self.colsample_bytree,
            "reg_lambda": self.reg_lambda,
        }
        self.booster_ = grow(self.folds.binned(X.ravel(), self.smote_ratio), settings, self.seed)
        return self

    def score(self, X: np.ndarray, y: object = None) -> float:  # noqa: N803
        """Average precision at the true base rate, although genuine rows were under-sampled."""
        rows = X.ravel()
        truth = self.folds.y[rows]
        scores = self.booster_.inplace_predict(self.folds.values[rows])
        weights = np.where(truth == 1, 1.0, self.folds.weight)
        return float(average_precision_score(truth, scores, sample_weight=weights))
