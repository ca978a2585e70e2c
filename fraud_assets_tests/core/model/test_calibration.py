import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, log_loss
from threadpoolctl import threadpool_limits

from fraud_core.model.calibration import Calibration, calibrate

RNG = np.random.default_rng(0)
N = 20_000
TRUTH = RNG.beta(0.3, 10, N)
IS_FRAUD = RNG.random(N) < TRUTH
CARDS = pl.Series(RNG.integers(2_000, size=N)).cast(pl.String)
CROOKED = np.where(TRUTH < 0.1, TRUTH / 10, 0.9 + TRUTH / 10)  # no logistic curve straightens this
TOO_SURE = 1 / (1 + np.exp(-(2 * np.log(TRUTH / (1 - TRUTH)) + 1)))


@pytest.mark.parametrize("scores", [CROOKED, TOO_SURE])
def test_calibrated_scores_are_nearer_to_the_truth(scores):
    calibrated = calibrate(IS_FRAUD, scores, CARDS).apply(scores)
    assert log_loss(IS_FRAUD, calibrated) < log_loss(IS_FRAUD, scores)
    assert calibrated.mean() == pytest.approx(IS_FRAUD.mean(), rel=0.02)


@pytest.mark.parametrize(("scores", "method"), [(CROOKED, "isotonic"), (TOO_SURE, "platt")])
def test_the_method_that_predicts_left_out_cards_better_is_taken(scores, method):
    calibration = calibrate(IS_FRAUD, scores, CARDS)
    assert calibration.method == method
    assert calibration.log_loss[method] == min(calibration.log_loss["isotonic"], calibration.log_loss["platt"])


def test_with_fewer_defrauded_cards_than_folds_platt_is_taken_without_a_comparison():
    few = np.zeros(N, bool)
    few[:3] = True
    calibration = calibrate(few, TOO_SURE, CARDS)
    assert (calibration.method, calibration.log_loss) == ("platt", {})


def test_the_curve_is_the_same_to_the_bit_however_many_threads_blas_has():
    curves = []
    for threads in (1, 2, 4):
        with threadpool_limits(threads, "blas"):
            curves.append(calibrate(IS_FRAUD, TOO_SURE, CARDS))
    assert curves[0] == curves[1] == curves[2]


@pytest.mark.parametrize("scores", [CROOKED, TOO_SURE])
def test_the_order_of_transactions_stays_so_that_no_ranking_metric_changes(scores):
    calibrated = calibrate(IS_FRAUD, scores, CARDS).apply(scores)
    assert (np.diff(calibrated[np.argsort(scores, kind="stable")]) >= 0).all()
    assert average_precision_score(IS_FRAUD, calibrated) == pytest.approx(average_precision_score(IS_FRAUD, scores))


CURVES = [calibrate(IS_FRAUD, CROOKED, CARDS), calibrate(IS_FRAUD, TOO_SURE, CARDS), Calibration()]


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=50), st.sampled_from(CURVES))
def test_a_score_stays_in_0_to_1_and_has_the_same_bits_alone_and_in_a_batch(scores, curve):
    batch = curve.apply(np.array(scores))
    assert (batch >= 0).all()
    assert (batch <= 1).all()
    assert batch.tolist() == [curve.apply(np.array([score]))[0] for score in scores]


@pytest.mark.parametrize("curve", CURVES)
def test_a_calibration_survives_json(curve):
    assert Calibration.from_dict(curve.to_dict()) == curve
