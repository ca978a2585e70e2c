import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, fbeta_score, precision_recall_curve

from fraud_core.evaluation.ranking import Ranking, average_precision, card_resamples, f_beta
from fraud_core.model.calibration import calibrate
from fraud_core.model.threshold import choose_threshold

# Few distinct scores, so that ties are the rule.
SCORED = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])), min_size=2, max_size=40
).filter(lambda rows: 0 < sum(is_fraud for is_fraud, _ in rows) < len(rows))


def columns(rows: list[tuple[bool, float]]) -> tuple[np.ndarray, np.ndarray, pl.Series]:
    is_fraud, scores = (np.array(column) for column in zip(*rows, strict=True))
    return is_fraud, scores, pl.Series([f"card-{row % 7}" for row in range(len(rows))])


def simulated(rows: int, seed: int, fraud_rate: float = 0.01) -> tuple[np.ndarray, np.ndarray, pl.Series]:
    rng = np.random.default_rng(seed)
    is_fraud = rng.random(rows) < fraud_rate
    scores = rng.beta(np.where(is_fraud, 4, 1), np.where(is_fraud, 2, 20))
    return is_fraud, scores, pl.Series(rng.integers(rows // 30, size=rows)).cast(pl.String)


def calibrated(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, pl.Series]:
    """Scores that are the probability of fraud."""
    rng = np.random.default_rng(seed)
    scores = rng.beta(0.05, 5.0, size=rows)
    return rng.random(rows) < scores, scores, pl.Series(rng.integers(rows // 30, size=rows)).cast(pl.String)


@given(SCORED, st.sampled_from([1.0, 2.0]))
def test_the_threshold_is_a_share_of_the_best_f_beta_by_brute_force_within_its_interval(rows, beta):
    is_fraud, scores, cards = columns(rows)
    by_hand = {value: fbeta_score(is_fraud, scores >= value, beta=beta) for value in scores}
    chosen = choose_threshold(is_fraud, scores, cards, beta=beta, resamples=20)
    low, high = chosen.interval
    assert chosen.value == pytest.approx(np.clip(max(by_hand.values()) / (1 + beta**2), low, high), rel=1e-12)
    flagged = scores >= chosen.value
    assert chosen.f_beta == pytest.approx(fbeta_score(is_fraud, flagged, beta=beta), rel=1e-12)
    assert chosen.precision == is_fraud[flagged].sum() / flagged.sum()
    assert chosen.recall == is_fraud[flagged].sum() / is_fraud.sum()


def test_of_calibrated_scores_and_many_frauds_the_threshold_has_the_highest_f2():
    is_fraud, scores, cards = calibrated(50_000, seed=1)
    chosen = choose_threshold(is_fraud, scores, cards)
    caught, flagged = Ranking.of(is_fraud, scores).counts()
    assert chosen.f_beta == pytest.approx(f_beta(caught, flagged, 2.0).max(), rel=0.01)


@given(st.integers(0, 10**6))
@settings(max_examples=5, deadline=None)
def test_a_threshold_from_few_frauds_flags_some_of_the_frauds_that_come(seed):
    """Two dozen frauds on a few cards, as a validation week of a thousand transactions a day has."""
    is_fraud, raw, cards = simulated(6_000, seed, fraud_rate=0.004)
    calibration = calibrate(is_fraud, raw, cards)
    chosen = choose_threshold(is_fraud, calibration.apply(raw), cards)
    later_is_fraud, later_raw, _ = simulated(6_000, seed + 1, fraud_rate=0.004)
    is_flagged = calibration.apply(later_raw) >= chosen.value
    assert chosen.value <= max(0.2, chosen.interval[0])
    assert is_flagged[later_is_fraud].mean() > 0.2
    assert later_is_fraud[is_flagged].mean() > 0.05


@given(SCORED, st.randoms())
def test_weighted_average_precision_is_scikit_learns(rows, random):
    is_fraud, scores, _ = columns(rows)
    weights = np.array([random.randint(0, 3) for _ in rows])
    weights[np.argmax(is_fraud)] = 1
    weights[np.argmin(is_fraud)] = 1
    ours = average_precision(*Ranking.of(is_fraud, scores).counts(weights))
    assert ours == pytest.approx(average_precision_score(is_fraud, scores, sample_weight=weights), rel=1e-12)


def test_the_interval_holds_the_threshold_and_the_same_seed_gives_the_same_interval():
    is_fraud, scores, cards = simulated(20_000, 1)
    chosen = choose_threshold(is_fraud, scores, cards, seed=3)
    low, high = chosen.interval
    assert 0 < low <= chosen.value <= high < 1
    assert choose_threshold(is_fraud, scores, cards, seed=3) == chosen


def test_a_resample_takes_all_rows_of_a_card_or_none_and_always_a_fraud():
    cards = pl.Series(["a", "b", "a", "c", "b", "a"])
    is_fraud = np.array([True, False, False, False, False, True])
    for weights in card_resamples(cards, is_fraud, 20, seed=0):
        assert weights[0] == weights[2] == weights[5]
        assert weights[1] == weights[4]
        assert weights[0] + weights[1] + weights[3] == 3
        assert weights[0] > 0


def test_of_as_many_rows_as_a_validation_has_the_best_f2_is_the_one_of_scikit_learns_curve():
    is_fraud, scores, cards = simulated(100_000, 2)
    chosen = choose_threshold(is_fraud, scores, cards, resamples=20)
    precision, recall, _ = precision_recall_curve(is_fraud, scores)
    best_f2 = np.max(5 * precision * recall / np.maximum(4 * precision + recall, 1e-300))
    assert chosen.value == pytest.approx(np.clip(best_f2 / 5, *chosen.interval), rel=1e-12)


def test_one_class_or_a_score_that_is_no_number_is_refused():
    cards = pl.Series(["a", "b", "c"])
    with pytest.raises(ValueError, match="3 transactions, 0 of them fraud"):
        choose_threshold(np.zeros(3, bool), np.array([0.1, 0.2, 0.3]), cards)
    with pytest.raises(ValueError, match="1 of 3 scores are not finite"):
        choose_threshold(np.array([True, False, False]), np.array([0.1, np.nan, 0.3]), cards)
