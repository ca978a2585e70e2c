import numpy as np
import polars as pl
import pytest

from fraud_assets_tests.core.training.training_rows import NAMES, training_rows
from fraud_core.training.balancing import balance, ratio_of, search_sample

TRAIN = training_rows(4_000)


def test_the_balanced_set_is_every_real_row_unchanged_and_then_synthetic_frauds():
    balanced = balance(TRAIN, NAMES, ratio=0.2, seed=7)
    real, synthetic = balanced.head(TRAIN.height), balanced.tail(-TRAIN.height)
    assert real.drop("is_synthetic").equals(TRAIN)
    assert not real["is_synthetic"].any()
    assert synthetic["is_synthetic"].all()
    assert synthetic["is_fraud"].all()
    assert synthetic["transaction_id"].null_count() == synthetic["event_time_ms"].null_count() == synthetic.height
    assert balanced["is_fraud"].sum() == round(0.2 * (~TRAIN["is_fraud"]).sum())
    assert ratio_of(balanced) == pytest.approx(0.2, abs=1e-3)


def test_a_synthetic_fraud_lies_between_real_frauds():
    frauds = TRAIN.filter("is_fraud").select(NAMES).to_numpy()
    synthetic = balance(TRAIN, NAMES, ratio=0.5, seed=7).filter("is_synthetic").select(NAMES).to_numpy()
    rounding = 1e-5 * np.abs(frauds).max(axis=0)
    assert (synthetic >= frauds.min(axis=0) - rounding).all()
    assert (synthetic <= frauds.max(axis=0) + rounding).all()


def test_no_smote_and_a_ratio_the_rows_already_have_add_nothing():
    for ratio in (0.0, 0.001):
        balanced = balance(TRAIN, NAMES, ratio, seed=7)
        assert balanced.height == TRAIN.height
        assert ratio_of(balanced) == 0.0


def test_the_same_rows_and_seed_give_the_same_balanced_set():
    assert balance(TRAIN, NAMES, 0.2, seed=7).equals(balance(TRAIN, NAMES, 0.2, seed=7))
    assert not balance(TRAIN, NAMES, 0.2, seed=7).equals(balance(TRAIN, NAMES, 0.2, seed=8))


def test_who_is_near_does_not_depend_on_the_unit_of_a_feature():
    in_cents = TRAIN.with_columns(pl.col("amount") * 128)  # a power of two scales floats exactly
    synthetic = balance(TRAIN, NAMES, 0.2, seed=7)["amount"].to_numpy()
    assert balance(in_cents, NAMES, 0.2, seed=7)["amount"].to_numpy() == pytest.approx(128 * synthetic, rel=1e-5)


def test_too_few_frauds_to_interpolate_between_is_refused_and_no_smote_is_not():
    few = TRAIN.filter(~pl.col("is_fraud") | (pl.col("is_fraud").cum_sum() <= 5))
    with pytest.raises(
        ValueError, match=r"SMOTE needs more than 5 frauds .*, the training period has 5: bring more history"
    ):
        balance(few, NAMES, 0.2, seed=7)
    assert balance(few, NAMES, 0.0, seed=7).height == few.height


def test_the_search_sample_keeps_every_fraud_and_weighs_the_genuine_rows_it_keeps():
    sample = search_sample(TRAIN, seed=7, fraction=0.1, at_least=100)
    genuine = sample.rows.filter(~pl.col("is_fraud"))
    assert sample.rows.filter("is_fraud").equals(TRAIN.filter("is_fraud"))
    assert genuine.height == round(0.1 * (~TRAIN["is_fraud"]).sum())
    assert genuine.height * sample.genuine_weight == pytest.approx((~TRAIN["is_fraud"]).sum())
    assert sample.rows["event_time_ms"].is_sorted()
    assert sample.rows["transaction_id"].is_unique().all()


def test_a_small_training_set_is_searched_whole():
    sample = search_sample(TRAIN, seed=7)
    assert sample.rows.equals(TRAIN)
    assert sample.genuine_weight == 1.0


def test_a_large_sample_is_scored_whole_and_fitted_in_part_and_a_small_one_is_fitted_whole():
    assert search_sample(TRAIN, seed=7).fitted_every == 1
    assert search_sample(training_rows(70_000), seed=7).fitted_every == 3
    assert search_sample(training_rows(300_000), seed=7, fraction=1.0).fitted_every == 8
