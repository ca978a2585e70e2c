import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_core.evaluation.decision_quality import decision_quality, paired_f2

payments = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.booleans(), st.integers(1, 10_000), st.booleans(), st.booleans()),
    min_size=2,
    max_size=40,
).filter(lambda rows: len({is_fraud for _, is_fraud, *_ in rows}) == 2)


def frame(rows: list[tuple]) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    users, frauds, cents, flagged, others = zip(*rows, strict=True)
    columns = pl.DataFrame({"user_id": users, "is_fraud": frauds, "value_minor": cents})
    return columns, np.array(flagged), np.array(others)


@given(payments)
def test_counts_and_money_are_those_of_the_rows(rows):
    columns, flagged, _ = frame(rows)
    found = decision_quality(columns, flagged, resamples=3)
    assert (found.transactions, found.flagged) == (len(rows), sum(flagged))
    assert found.caught == sum(f and x for (_, f, _, x, _) in rows)
    assert found.caught_minor == sum(c for (_, f, c, x, _) in rows if f and x)
    assert found.missed_minor == sum(c for (_, f, c, x, _) in rows if f and not x)
    assert found.recall.value == found.caught / found.frauds
    assert found.f2.value == 5 * found.caught / (4 * found.frauds + found.flagged)
    assert all(share.low <= share.high for share in found.shares().values() if not math.isnan(share.low))


@given(payments)
def test_without_an_alert_there_is_no_precision_and_no_made_up_0(rows):
    found = decision_quality(frame(rows)[0], np.zeros(len(rows), bool), resamples=3)
    assert math.isnan(found.precision.value)
    assert found.recall.value == 0


@given(payments)
def test_decisions_against_themselves_gain_nothing_and_the_other_way_round_is_the_opposite(rows):
    columns, flagged, others = frame(rows)
    same = paired_f2(columns, flagged, flagged, resamples=5)
    assert (same.gain, same.low, same.high) == (0, 0, 0)
    there, back = (paired_f2(columns, *pair, resamples=5) for pair in ((flagged, others), (others, flagged)))
    assert there.gain == -back.gain
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-12)


def test_the_interval_is_wider_when_the_frauds_are_of_fewer_cards():
    n = 4000
    is_fraud = np.arange(n) % 20 == 0
    flagged = is_fraud & (np.arange(n) // 20 // 10 % 2 == 0)
    few, many = ((np.arange(n) // size).astype(str) for size in (200, 20))
    widths = []
    for users in (few, many):
        rows = pl.DataFrame({"user_id": users, "is_fraud": is_fraud, "value_minor": np.ones(n, np.int64)})
        recall = decision_quality(rows, flagged).recall
        assert recall.low < recall.value == 0.5 < recall.high
        widths.append(recall.high - recall.low)
    assert widths[0] > 2 * widths[1]


def test_rows_of_one_class_give_an_error_and_not_a_figure():
    rows = pl.DataFrame({"user_id": ["a"], "is_fraud": [False], "value_minor": [1]})
    with pytest.raises(ValueError, match="0 of them fraud"):
        decision_quality(rows, np.array([True]))
