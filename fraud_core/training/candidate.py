"""A candidate of the search: settings that scikit-learn's search can draw, fitted on a fold and scored on later rows.

Weights: a genuine row of the search's sample stands for several transactions, and a synthetic fraud for as many, so
that a high SMOTE ratio costs no more rows than it must.
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
    """(n, features), of the features' dtype, and whether a row is fraud, (n,) int8."""
    return rows.select(features).to_numpy(order="c"), rows["is_fraud"].to_numpy().astype(np.int8)


class FoldMatrices:
    """What the candidates of a search are fitted on: SMOTE is done once a fold, binning once a fold and ratio.

    Row numbers of ``sample.rows`` are all that a search hands around. Ratios up to ``highest_ratio`` differ in how many
    of a fold's synthetic frauds they take, not in which.
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
        """The training rows of a fold: ``balanced``, ready to be fitted on."""
        fold = rows.tobytes(), smote_ratio
        if fold not in self._binned:  # two threads may both make it: the same
            values, y, weights = self.balanced(rows, smote_ratio)
            self._binned[fold] = binned(values, y, weights, MAX_BIN)
        return self._binned[fold]

    def balanced(self, rows: np.ndarray, smote_ratio: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values, labels and weights: every fraud, some of the genuine rows, which stand for all, and synthetic frauds
        up to ``smote_ratio`` per genuine transaction, each of which weighs as much as a genuine row.
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


class Candidate(BaseEstimator):
    """Gradient-boosted trees on some of the rows of ``folds``. X is their numbers, (n, 1); y is not looked at.

    haste : how many times fewer trees it grows than ``n_estimators``, with as many times the ``learning_rate``.
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
        return average_precision_score(truth, scores, sample_weight=np.where(truth == 1, 1.0, self.folds.weight))
