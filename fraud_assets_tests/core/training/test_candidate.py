import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import average_precision_score
from xgboost import XGBClassifier

from fraud_assets_tests.core.training.training_rows import NAMES, training_rows
from fraud_core.training.balancing import SearchSample, search_sample
from fraud_core.training.candidate import MAX_BIN, Candidate, FoldMatrices, matrix
from fraud_core.training.search import DEFAULTS

TRAIN = training_rows(4_000)
VALUES, Y = matrix(TRAIN, NAMES)
ALL = np.arange(TRAIN.height)
SMALL = {**DEFAULTS, "n_estimators": 20}


def folds(genuine_weight: float = 1.0, fitted_every: int = 1) -> FoldMatrices:
    return FoldMatrices(SearchSample(TRAIN, genuine_weight, fitted_every), NAMES, seed=7, highest_ratio=1.0)


def fitted(settings: dict, of: FoldMatrices) -> Candidate:
    return Candidate(folds=of, seed=7, **settings).fit(ALL[:, np.newaxis])


def test_a_weighted_sample_of_genuine_rows_fits_as_repeating_them_would():
    deterministic = {**SMALL, "subsample": 1.0, "colsample_bytree": 1.0}
    weighted = fitted(deterministic, folds(genuine_weight=3.0)).booster_
    times = np.where(Y == 1, 1, 3)
    repeated = XGBClassifier(**deterministic, max_bin=MAX_BIN, n_jobs=1)
    repeated.fit(np.repeat(VALUES, times, axis=0), np.repeat(Y, times))
    # Bins are cut at quantiles, which a sketch finds but nearly.
    scores, expected = weighted.inplace_predict(VALUES), repeated.predict_proba(VALUES)[:, 1]
    assert np.corrcoef(scores, expected)[0, 1] > 0.99
    assert scores.mean() == pytest.approx(expected.mean(), rel=0.05)


def test_a_candidate_is_fitted_on_some_of_the_genuine_rows_which_stand_for_all_and_on_every_fraud():
    _, y, weights = folds(genuine_weight=2.0, fitted_every=8).balanced(ALL, 0.0)
    genuine = np.count_nonzero(Y == 0)
    assert np.count_nonzero(y == 0) == -(-genuine // 8)
    assert weights[y == 0].sum() == pytest.approx(2 * genuine)
    assert weights[y == 1].tolist() == [1.0] * np.count_nonzero(Y)


def test_a_fold_holds_its_own_rows_alone_and_frauds_between_them():
    rows = ALL[:2_000]
    values, y, _ = folds().balanced(rows, 0.5)
    real = len(rows)
    assert np.array_equal(values[:real], VALUES[rows])
    assert y[real:].all()
    of_frauds = VALUES[rows][Y[rows] == 1]
    assert (values[real:] >= of_frauds.min(axis=0) - 1e-3).all()
    assert (values[real:] <= of_frauds.max(axis=0) + 1e-3).all()


def test_synthetic_frauds_of_a_sample_weigh_as_much_as_those_of_all_rows_would():
    genuine, frauds = 10.0 * np.count_nonzero(Y == 0), np.count_nonzero(Y)
    for ratio, weighed in ((0.0, frauds), (0.001, frauds), (0.1, 0.1 * genuine), (1.0, genuine)):
        values, y, weights = folds(genuine_weight=10.0).balanced(ALL, ratio)
        assert len(values) == len(y) == len(weights)
        assert weights[y == 1].sum() == pytest.approx(weighed, abs=10)
        assert weights[y == 0].sum() == genuine


def test_a_lower_ratio_takes_the_first_of_the_same_synthetic_frauds():
    shared = folds()
    (low, _, _), (high, _, _) = (shared.balanced(ALL, ratio) for ratio in (0.1, 1.0))
    assert len(ALL) < len(low) < len(high)
    assert np.array_equal(low, high[: len(low)])


def test_binning_a_fold_once_gives_the_trees_that_fitting_it_alone_gives():
    shared = folds()
    first, second = fitted(SMALL, shared), fitted(SMALL, shared)
    alone = XGBClassifier(**SMALL, max_bin=MAX_BIN, random_state=7, n_jobs=1).fit(VALUES, Y).get_booster()
    assert first.booster_.get_dump() == second.booster_.get_dump() == alone.get_dump()


def test_haste_grows_fewer_trees_that_learn_more_each():
    hasty = fitted({**SMALL, "n_estimators": 20, "learning_rate": 0.1, "haste": 2}, folds())
    usual = fitted({**SMALL, "n_estimators": 10, "learning_rate": 0.2}, folds())
    assert hasty.booster_.get_dump() == usual.booster_.get_dump()


def test_a_clone_shares_what_is_fitted_on():
    candidate = Candidate(folds=folds(), seed=7, **SMALL, smote_ratio=0.1)
    assert clone(candidate).get_params() == candidate.get_params()


def test_average_precision_of_a_weighted_sample_means_average_precision_of_all_rows():
    train = training_rows(100_000, fraud_rate=0.01)
    sample = search_sample(train, seed=7, at_least=0)
    of_sample = FoldMatrices(sample, NAMES, seed=7, highest_ratio=1.0)
    trees = Candidate(folds=of_sample, seed=7, **SMALL).fit(np.arange(20_000)[:, np.newaxis])
    values, y = matrix(train, NAMES)
    of_all = average_precision_score(y, trees.booster_.inplace_predict(values))
    scores = trees.booster_.inplace_predict(of_sample.values)
    assert trees.score(np.arange(sample.rows.height)[:, np.newaxis]) == pytest.approx(of_all, rel=0.1)
    assert average_precision_score(of_sample.y, scores) > 1.2 * of_all
