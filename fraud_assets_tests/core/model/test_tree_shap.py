"""Contributions are Shapley values of the trees: equal to their definition, summed over every set of features."""

from itertools import combinations
from math import factorial

import numpy as np
import orjson
import pytest
import xgboost as xgb

from fraud_core.model.tree_shap import TreeShap

FEATURES = 4


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.random.default_rng(3).lognormal(size=(400, FEATURES)).astype(np.float32)


@pytest.fixture(scope="module", params=[1, 2, 5, 9])
def booster(request, rows) -> xgb.Booster:
    """Deeper trees than there are features: paths ask for the same one again and again."""
    is_fraud = (np.log(rows[:, 0]) * np.log(rows[:, 1]) + np.log(rows[:, 2]) > 0.5).astype(int)
    params = {"max_depth": request.param, "min_child_weight": 0.1, "objective": "binary:logistic", "nthread": 1}
    return xgb.train(params, xgb.DMatrix(rows, is_fraud), 3)


def expected_log_odds(tree: dict, row: np.ndarray, known: set[int], node: int = 0) -> float:
    """Of the row of which only the features ``known`` are known."""
    left, right = tree["left_children"][node], tree["right_children"][node]
    if left < 0:
        return tree["split_conditions"][node]
    feature = tree["split_indices"][node]
    if feature in known:
        is_left = row[feature] < np.float32(tree["split_conditions"][node])
        return expected_log_odds(tree, row, known, left if is_left else right)
    cover = tree["sum_hessian"]
    return sum(cover[c] / cover[node] * expected_log_odds(tree, row, known, c) for c in (left, right))


def shapley_value(trees: list[dict], row: np.ndarray, feature: int) -> float:
    others, total = [other for other in range(FEATURES) if other != feature], 0.0
    for size in range(FEATURES):
        weight = factorial(size) * factorial(FEATURES - size - 1) / factorial(FEATURES)
        for known in map(set, combinations(others, size)):
            for tree in trees:
                gained = expected_log_odds(tree, row, known | {feature}) - expected_log_odds(tree, row, known)
                total += weight * gained
    return total


def test_a_contribution_is_the_mean_over_all_orders_in_which_features_become_known(booster, rows):
    trees = orjson.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]["model"]["trees"]
    contributions = TreeShap.of(booster).contributions(rows[:5])
    expected = [[shapley_value(trees, row, feature) for feature in range(FEATURES)] for row in rows[:5]]
    np.testing.assert_allclose(contributions, expected, rtol=0, atol=1e-13)


def test_xgboost_says_the_same_in_single_precision(booster, rows):
    theirs = booster.predict(xgb.DMatrix(rows), pred_contribs=True)[:, :-1]
    np.testing.assert_allclose(TreeShap.of(booster).contributions(rows), theirs, rtol=0, atol=1e-5)


def test_a_row_is_explained_by_the_same_bits_in_whatever_batch_it_comes(booster, rows):
    shap = TreeShap.of(booster)
    together = shap.contributions(rows)
    alone = np.concatenate([shap.contributions(rows[at : at + 1]) for at in range(len(rows))])
    assert (together == alone).all()
    assert shap.contributions(rows[:0]).shape == (0, FEATURES)


def test_a_tree_that_is_a_single_leaf_explains_nothing(rows):
    constant = xgb.train({"objective": "binary:logistic"}, xgb.DMatrix(rows, np.zeros(len(rows))), 2)
    assert not TreeShap.of(constant).contributions(rows).any()
