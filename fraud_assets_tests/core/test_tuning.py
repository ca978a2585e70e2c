import threading

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.metrics import average_precision_score
from xgboost import XGBClassifier

from fraud_assets_tests.core.training_rows import NAMES, training_rows
from fraud_core.balancing import FraudTarget, balance, search_sample
from fraud_core.timestamps import DAY_MS
from fraud_core.tuning import DEFAULTS, GenuineWeightedXGBClassifier, choose_smote_ratio, refit, tune

TRAIN = training_rows(4_000)
SMALL = {**DEFAULTS, "n_estimators": 20}
IN_PROCESS = {"gap_ms": 3 * DAY_MS, "folds": 3, "seed": 7, "n_jobs": 1}


def matrix(rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return rows.select(NAMES).to_numpy(), rows["is_fraud"].to_numpy()


def test_the_search_returns_the_best_of_its_table_and_tries_the_defaults_first():
    told = []
    tuning = tune(
        balance(TRAIN, NAMES, 0.1, seed=7), NAMES, candidates=3, progress=lambda *step: told.append(step), **IN_PROCESS
    )
    assert tuning.table.height == 3
    assert tuning.table.select(list(DEFAULTS)).row(0, named=True) == DEFAULTS
    best = tuning.table.row(int(tuning.table["average_precision"].arg_max()), named=True)
    assert tuning.params == {name: best[name] for name in DEFAULTS}
    assert {type(value) for value in tuning.params.values()} <= {int, float}
    assert [(done, candidates) for done, candidates, _ in told] == [(2, 3), (3, 3)]
    assert told[-1][2] == tuning.table["average_precision"].max()


def test_two_processes_find_what_one_process_finds():
    balanced = balance(TRAIN, NAMES, 0.1, seed=7)
    alone = tune(balanced, NAMES, candidates=2, **IN_PROCESS)
    lock = threading.Lock()  # a callback that holds what cannot be sent to another process
    together = tune(balanced, NAMES, candidates=2, **{**IN_PROCESS, "n_jobs": 2}, progress=lambda *step: lock.locked())
    assert together.params == alone.params
    assert together.table.drop("fit_seconds").equals(alone.table.drop("fit_seconds"))


def test_the_smote_ratio_is_the_best_of_its_table_and_no_smote_is_always_tried():
    choice = choose_smote_ratio(TRAIN, NAMES, ratios=(0.1, 0.3), **IN_PROCESS)
    assert choice.table["ratio"].to_list() == [0.0, 0.1, 0.3]
    best = choice.table.filter(pl.col("average_precision") == choice.table["average_precision"].max())
    assert choice.ratio == best["ratio"][0]


def test_the_search_never_sees_a_synthetic_row_of_the_balanced_set():
    balanced = balance(TRAIN, NAMES, 0.1, seed=7)
    wrong = balanced.with_columns(pl.when("is_synthetic").then(np.nan).otherwise("noise").alias("noise"))
    expected = tune(balanced, NAMES, candidates=1, **IN_PROCESS).table.drop("fit_seconds")
    assert tune(wrong, NAMES, candidates=1, **IN_PROCESS).table.drop("fit_seconds").equals(expected)


def test_a_weighted_sample_of_genuine_rows_fits_as_repeating_them_would():
    rows, y = matrix(TRAIN)
    deterministic = {
        **SMALL,
        "subsample": 1.0,
        "colsample_bytree": 1.0,
        "tree_method": "exact",
        "n_jobs": 1,
        "base_score": 0.1,
    }
    weighted = GenuineWeightedXGBClassifier(genuine_weight=3.0, **deterministic).fit(rows, y)
    times = np.where(y, 1, 3)
    repeated = XGBClassifier(**deterministic).fit(np.repeat(rows, times, axis=0), np.repeat(y, times))
    assert weighted.predict_proba(rows) == pytest.approx(repeated.predict_proba(rows), abs=1e-4)
    assert clone(weighted).get_params()["genuine_weight"] == 3.0


def test_average_precision_of_a_weighted_sample_means_average_precision_of_all_rows():
    train = training_rows(100_000, fraud_rate=0.01)
    sample = search_sample(train, seed=7, at_least=0)
    weights = np.where(sample.rows["is_fraud"], 1.0, sample.genuine_weight)
    of_all = average_precision_score(train["is_fraud"], train["amount"])
    of_sample = average_precision_score(sample.rows["is_fraud"], sample.rows["amount"], sample_weight=weights)
    unweighted = average_precision_score(sample.rows["is_fraud"], sample.rows["amount"])
    assert of_sample == pytest.approx(of_all, rel=0.1)
    assert unweighted > 2 * of_all


def test_smote_on_a_sample_brings_frauds_to_the_ratio_of_all_genuine_transactions():
    y = np.array([0] * 1_000 + [1] * 50)
    assert FraudTarget(0.1, genuine_weight=10.0)(y) == {1: 1_000}
    assert FraudTarget(0.1)(y) == {1: 100}
    assert FraudTarget(0.0)(y) == {1: 50}


def test_the_same_data_and_seed_give_the_same_model_bytes():
    balanced = balance(TRAIN, NAMES, 0.1, seed=7)
    model = refit(balanced, NAMES, SMALL, seed=7)
    assert refit(balanced, NAMES, SMALL, seed=7).save_raw("ubj") == model.save_raw("ubj")
    assert refit(balanced, NAMES, SMALL, seed=8).save_raw("ubj") != model.save_raw("ubj")
    assert tuple(model.feature_names) == NAMES
    assert model.num_boosted_rounds() == 20


def test_a_refitted_model_finds_frauds_of_rows_it_has_not_seen():
    model = refit(balance(TRAIN, NAMES, 0.1, seed=7), NAMES, SMALL, seed=7)
    rows, y = matrix(training_rows(4_000, seed=1))
    assert average_precision_score(y, model.inplace_predict(rows, validate_features=False)) > 10 * y.mean()


def test_folds_without_enough_frauds_are_refused_before_anything_is_fitted():
    late = TRAIN.with_columns(is_fraud=pl.col("is_fraud") & (pl.col("event_time_ms") > 10 * DAY_MS))
    with pytest.raises(ValueError, match=r"fold 1 of 3: the training period .* 0 of them fraud; it needs at least 6"):
        choose_smote_ratio(late, NAMES, **IN_PROCESS)
