"""Which days are unlike a stable month: by how much, from when on, and which are not judged at all."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_core.features.table import FEATURES
from fraud_core.monitoring.drift import (
    FEWEST_REFERENCE_DAYS,
    FEWEST_ROWS,
    REFERENCE_DAYS,
    SCORE,
    TooFewDaysError,
    judge,
    make_reference,
    monitored,
    newest_alarm,
    statistics,
)
from fraud_core.timestamps import DAY_MS

NAMES = ["amount", "is_rare", "merchant_fraud_rate_7d"]
FIRST = date(1970, 1, 1)


def days(first: int, count: int, rows: int = 2000, seed: int = 0, **changes) -> pl.DataFrame:
    """``count`` days from ``first`` on: amounts, a feature that is 0 but for one row in fifty, and a known fraud rate.

    changes : by name, a function of the usual values.
    """
    rng = np.random.default_rng([seed, first])
    n = count * rows
    values = {
        "amount": rng.lognormal(3.0, 1.0, n),
        "is_rare": (rng.random(n) < 0.02).astype(float),
        "merchant_fraud_rate_7d": rng.random(n),
    }
    values |= {name: change(values[name]) for name, change in changes.items()}
    return pl.DataFrame(values).with_columns(event_time_ms=(first + pl.int_range(n) // rows) * DAY_MS)


@pytest.fixture(scope="module")
def reference():
    return make_reference(days(0, REFERENCE_DAYS), NAMES)


def judged(rows: pl.DataFrame, reference) -> pl.DataFrame:
    return judge(statistics(rows, reference), reference)


def alarms(rows: pl.DataFrame, reference) -> list[tuple[int, str]]:
    found = judged(rows, reference).filter("is_alarm").select("day", "name").sort("day", "name")
    return [((day - FIRST).days, name) for day, name in found.iter_rows()]


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 10_000))
def test_a_month_like_the_reference_raises_no_alarm(seed):
    reference = make_reference(days(0, REFERENCE_DAYS, seed=seed), NAMES)
    assert alarms(days(40, 30, seed=seed + 1), reference) == []


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_a_shift_is_an_alarm_on_its_second_day(reference, factor):
    rows = pl.concat([days(40, 5), days(45, 4, amount=lambda amount: amount * factor)])
    assert alarms(rows, reference) == [(day, "amount") for day in (46, 47, 48)]


def test_a_day_beyond_the_limit_between_two_that_are_not_is_no_alarm(reference):
    odd = days(42, 1, amount=lambda amount: amount * 2)
    assert alarms(pl.concat([days(40, 2), odd, days(43, 5)]), reference) == []
    beyond = judged(pl.concat([days(40, 2), odd]), reference).filter("is_beyond")
    assert beyond.select("day", "name").rows() == [(FIRST + timedelta(42), "amount")]


def test_two_of_three_days_are_enough(reference):
    bad = [days(day, 1, amount=lambda amount: amount * 2) for day in (41, 43)]
    assert alarms(pl.concat([days(40, 1), bad[0], days(42, 1), bad[1], days(44, 2)]), reference) == [(43, "amount")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0.0, 7.0, None])
def test_a_column_gone_constant_is_an_alarm_the_same_day_whatever_it_was_before(reference, name, value):
    rows = days(40, 1).with_columns(pl.lit(value, pl.Float64).alias(name))
    assert alarms(rows, reference) == [(40, name)]
    assert newest_alarm(judged(rows, reference)).constant == (name,)


def test_what_was_constant_all_along_may_stay_so():
    reference = make_reference(days(0, REFERENCE_DAYS).with_columns(is_rare=pl.lit(0.0)), NAMES)
    assert alarms(days(40, 3).with_columns(is_rare=pl.lit(0.0)), reference) == []
    assert {name for _, name in alarms(days(40, 3), reference)} == {"is_rare"}


def test_known_fraud_at_merchants_may_come_and_go(reference):
    assert alarms(days(40, 5, merchant_fraud_rate_7d=lambda rate: rate / 3), reference) == []


def test_missing_values_are_no_values_and_no_error(reference):
    rows = days(40, 3).with_columns(amount=pl.when(pl.int_range(pl.len()) % 3 > 0).then("amount"))
    assert alarms(rows, reference) == []


def test_a_score_of_another_model_is_no_fault_and_of_too_few_rows_not_judged():
    reference = make_reference(days(0, REFERENCE_DAYS).rename({"amount": SCORE}), [SCORE, "is_rare"])
    rows = days(40, 3).rename({"amount": SCORE})
    unasked = rows.with_columns(pl.when(pl.int_range(pl.len()) % 2000 < FEWEST_ROWS - 1).then(SCORE).alias(SCORE))
    assert set(judged(unasked, reference)["name"]) == {"is_rare"}
    assert alarms(unasked, reference) == []


def test_a_small_day_is_noisier_and_is_given_more_room(reference):
    assert alarms(days(40, 20, rows=FEWEST_ROWS), reference) == []


def test_a_day_with_few_rows_is_not_judged(reference):
    assert judged(days(40, 1, rows=FEWEST_ROWS - 1, amount=lambda amount: amount * 9), reference).is_empty()


def test_a_reference_takes_the_newest_days_and_needs_enough_of_them():
    reference = make_reference(days(0, REFERENCE_DAYS + 3), NAMES)
    assert reference.first == (FIRST + timedelta(3)).isoformat()
    assert reference.last == (FIRST + timedelta(REFERENCE_DAYS + 2)).isoformat()
    with pytest.raises(TooFewDaysError, match=r"13 days .* are too few"):
        make_reference(days(0, FEWEST_REFERENCE_DAYS - 1), NAMES)


def test_two_drifted_days_in_a_reference_lift_its_limit_so_that_a_retrained_model_is_not_alarmed_by_them_again():
    changed = days(REFERENCE_DAYS - 2, 12, amount=lambda amount: amount * 1.3)
    is_before = pl.col("event_time_ms") < REFERENCE_DAYS * DAY_MS
    rows = pl.concat([days(0, REFERENCE_DAYS - 2), changed])
    reference = make_reference(rows.filter(is_before), NAMES)
    assert alarms(rows.filter(~is_before), reference) == []
    assert alarms(rows.filter(~is_before), make_reference(days(0, REFERENCE_DAYS), NAMES)) != []


def test_an_alarm_lasts_since_the_first_of_its_days_in_a_row(reference):
    dear = {"amount": lambda amount: amount * 2}
    rows = pl.concat([days(40, 3, **dear), days(43, 4), days(47, 5, **dear)])
    alarm = newest_alarm(judged(rows, reference))
    assert (alarm.drifting, alarm.constant, alarm.since) == (("amount",), (), FIRST + timedelta(48))
    quiet = newest_alarm(judged(pl.concat([rows, days(52, 4)]), reference))
    assert (quiet.drifting, quiet.since) == ((), None)


def test_the_features_that_vary_within_a_day_and_the_score_are_monitored():
    assert set(FEATURES) - set(monitored(FEATURES)) == {"day_of_week"}
    assert monitored(FEATURES)[-1] == SCORE
