import time

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, fbeta_score

from fraud_core.ranking import Ranking, average_precision, card_resamples
from fraud_core.threshold import choose_threshold

# Few distinct scores, so that ties are the rule.
SCORED = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])), min_size=2, max_size=40
).filter(lambda rows: 0 < sum(is_fraud for is_fraud, _ in rows) < len(rows))


def columns(rows: list[tuple[bool, float]]) -> tuple[np.ndarray, np.ndarray, pl.Series]:
    is_fraud, scores = (np.array(column) for column in zip(*rows, strict=True))
    return is_fraud, scores, pl.Series([f"card-{row % 7}" for row in range(len(rows))])


def simulated(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, pl.Series]:
    rng = np.random.default_rng(seed)
    is_fraud = rng.random(rows) < 0.01
    scores = rng.beta(np.where(is_fraud, 4, 1), np.where(is_fraud, 2, 20))
    return is_fraud, scores, pl.Series(rng.integers(rows // 30, size=rows)).cast(pl.String)


@given(SCORED, st.sampled_from([1.0, 2.0]))
def test_the_threshold_is_the_best_of_all_by_brute_force(rows, beta):
    is_fraud, scores, cards = columns(rows)
    by_hand = {value: fbeta_score(is_fraud, scores >= value, beta=beta) for value in scores}
    chosen = choose_threshold(is_fraud, scores, cards, beta=beta, resamples=2)
    assert chosen.f_beta == pytest.approx(max(by_hand.values()), rel=1e-12)
    assert by_hand[chosen.value] == pytest.approx(chosen.f_beta, rel=1e-12)
    flagged = scores >= chosen.value
    assert chosen.precision == is_fraud[flagged].sum() / flagged.sum()
    assert chosen.recall == is_fraud[flagged].sum() / is_fraud.sum()


@given(SCORED, st.randoms())
def test_weighted_average_precision_is_scikit_learns(rows, random):
    is_fraud, scores, _ = columns(rows)
    weights = np.array([random.randint(0, 3) for _ in rows])
    weights[np.argmax(is_fraud)] = 1
    weights[np.argmin(is_fraud)] = 1
    ours = average_precision(*Ranking.of(is_fraud, scores).counts(weights))
    assert ours == pytest.approx(average_precision_score(is_fraud, scores, sample_weight=weights), rel=1e-12)


def test_of_equally_good_thresholds_the_one_that_flags_least_is_chosen():
    # F1 is 2/3 for the first row alone (2 x 1 / (2 + 1)) and for the first four (2 x 2 / (2 + 4)).
    is_fraud = np.array([True, False, False, True, False])
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    assert choose_threshold(is_fraud, scores, pl.Series(list("abcde")), beta=1.0).value == 0.9


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


def test_a_threshold_of_100k_rows_with_its_interval_takes_no_more_than_seconds():
    started = time.process_time()
    choose_threshold(*simulated(100_000, 2))
    assert time.process_time() - started < 5


def test_one_class_or_a_score_that_is_no_number_is_refused():
    cards = pl.Series(["a", "b", "c"])
    with pytest.raises(ValueError, match="3 transactions, 0 of them fraud"):
        choose_threshold(np.zeros(3, bool), np.array([0.1, 0.2, 0.3]), cards)
    with pytest.raises(ValueError, match="1 of 3 scores are not finite"):
        choose_threshold(np.array([True, False, False]), np.array([0.1, np.nan, 0.3]), cards)
