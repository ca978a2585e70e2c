import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score

from fraud_assets_tests.core.training.training_rows import NAMES, training_rows
from fraud_core.timestamps import DAY_MS
from fraud_core.training.balancing import balance
from fraud_core.training.candidate import matrix
from fraud_core.training.search import DEFAULTS, TOLERANCE, choose_smote_ratio, refit, tune

TRAIN = training_rows(4_000)
SMALL = {**DEFAULTS, "n_estimators": 20}
ALONE = {"gap_ms": 3 * DAY_MS, "folds": 3, "seed": 7, "n_jobs": 1}


def test_the_search_tries_the_defaults_first_and_tells_its_progress():
    told = []
    tuning = tune(
        balance(TRAIN, NAMES, 0.1, seed=7), NAMES, candidates=3, progress=lambda *step: told.append(step), **ALONE
    )
    assert tuning.table.height == 3
    assert tuning.table.select(list(DEFAULTS)).row(0, named=True) == DEFAULTS
    assert {type(value) for value in tuning.params.values()} <= {int, float}
    assert [(done, candidates) for done, candidates, _ in told] == [(2, 3), (3, 3)]
    assert told[-1][2] == tuning.table["average_precision"].max()


def test_of_candidates_as_good_as_the_best_the_one_with_the_fewest_levels_of_trees_is_taken():
    balanced = balance(TRAIN, NAMES, 0.1, seed=7)
    tuning = tune(balanced, NAMES, candidates=12, **ALONE)
    good = tuning.table.filter(pl.col("average_precision") >= pl.col("average_precision").max() - TOLERANCE)
    fewest = good.sort(pl.col("n_estimators") * pl.col("max_depth")).row(0, named=True)
    assert tuning.params == {name: fewest[name] for name in DEFAULTS}


def test_two_threads_find_what_one_thread_finds():
    balanced = balance(TRAIN, NAMES, 0.1, seed=7)
    alone = tune(balanced, NAMES, candidates=2, **ALONE)
    together = tune(balanced, NAMES, candidates=2, **{**ALONE, "n_jobs": 2})
    assert together.params == alone.params
    assert together.table.drop("fit_seconds").equals(alone.table.drop("fit_seconds"))


def test_the_smote_ratio_is_the_smallest_as_good_as_the_best_and_no_smote_is_always_tried():
    choice = choose_smote_ratio(TRAIN, NAMES, ratios=(0.1, 0.3), **ALONE)
    assert choice.table["ratio"].to_list() == [0.0, 0.1, 0.3]
    good = choice.table.filter(pl.col("average_precision") >= pl.col("average_precision").max() - TOLERANCE)
    assert choice.ratio == good["ratio"].min()


def test_the_search_never_sees_a_synthetic_row_of_the_balanced_set():
    balanced = balance(TRAIN, NAMES, 0.1, seed=7)
    wrong = balanced.with_columns(pl.when("is_synthetic").then(np.nan).otherwise("noise").alias("noise"))
    expected = tune(balanced, NAMES, candidates=1, **ALONE).table.drop("fit_seconds")
    assert tune(wrong, NAMES, candidates=1, **ALONE).table.drop("fit_seconds").equals(expected)


def test_the_same_data_and_seed_give_the_same_model_bytes():
    balanced = balance(TRAIN, NAMES, 0.1, seed=7)
    model = refit(balanced, NAMES, SMALL, seed=7)
    assert refit(balanced, NAMES, SMALL, seed=7).save_raw("ubj") == model.save_raw("ubj")
    assert refit(balanced, NAMES, SMALL, seed=8).save_raw("ubj") != model.save_raw("ubj")
    assert tuple(model.feature_names) == NAMES
    assert model.num_boosted_rounds() == 20


def test_a_refitted_model_finds_frauds_of_rows_it_has_not_seen():
    model = refit(balance(TRAIN, NAMES, 0.1, seed=7), NAMES, SMALL, seed=7)
    rows, y = matrix(training_rows(4_000, seed=1), NAMES)
    assert average_precision_score(y, model.inplace_predict(rows, validate_features=False)) > 10 * y.mean()


def test_folds_without_enough_frauds_are_refused_before_anything_is_fitted():
    late = TRAIN.with_columns(is_fraud=pl.col("is_fraud") & (pl.col("event_time_ms") > 15 * DAY_MS))
    with pytest.raises(ValueError, match=r"fold 1 of 3: the training period .* 0 of them fraud; it needs at least 6"):
        choose_smote_ratio(late, NAMES, **ALONE)
