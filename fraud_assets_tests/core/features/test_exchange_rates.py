"""Conversion by event time, and the rule by which later tables never change what was converted before."""

from datetime import date, timedelta
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_core.features.exchange_rates import (
    GOOD_FOR_MS,
    IN_FORCE_AFTER_DAY_MS,
    ExchangeRates,
    RateTable,
    earliest_in_force_ms,
    first_tables,
    later_tables,
)
from fraud_core.input_files.ecb_rates import ecb_rates
from fraud_core.money import minor_units
from fraud_core.timestamps import DAY_MS, HOUR_MS, iso_date_ms

START = date(2026, 1, 1)
START_MS = iso_date_ms(START.isoformat())
CURRENCIES = ("USD", "JPY", "KWD", "CLF")
AMOUNTS = st.integers(-(10**13), 10**13)


def day(number: int) -> str:
    return (START + timedelta(days=number)).isoformat()


def payments(rows: list[tuple[str, int, int]]) -> pl.DataFrame:
    """Rows of currency, amount_minor, event_time_ms."""
    schema = {"currency": pl.String, "amount_minor": pl.Int64, "event_time_ms": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def day_tables() -> st.SearchStrategy[dict[str, dict[str, float]]]:
    numbers = st.integers(-40, 40)
    rates = st.dictionaries(st.sampled_from(CURRENCIES), st.sampled_from((0.3, 1.1, 170.25)), min_size=1)
    return st.dictionaries(numbers.map(day), rates, max_size=6)


@given(st.data())
def test_no_table_that_is_published_later_changes_what_was_decided(data):
    """A history, then publications at any time, of any days, in any order: early, late, corrected. Between them
    payments are decided, whose event time may lie ahead of the clock by the tolerance. Training converts the same."""
    tolerance_ms = data.draw(st.sampled_from((0, 300_000, 3 * DAY_MS)))
    log = first_tables(data.draw(day_tables()))
    into = data.draw(st.sampled_from(("EUR", "USD", "JPY")))
    now_ms, decided = START_MS, []
    for _ in range(data.draw(st.integers(1, 5))):
        now_ms += data.draw(st.sampled_from((0, 1, HOUR_MS, DAY_MS, 30 * DAY_MS)))
        ahead_ms = data.draw(st.sampled_from((-400 * DAY_MS, -DAY_MS, -HOUR_MS, 0, tolerance_ms)))
        row = (data.draw(st.sampled_from((*CURRENCIES, "EUR", "XTS"))), data.draw(AMOUNTS), now_ms + ahead_ms)
        rates, one = ExchangeRates(list(log), into), payments([row])
        decided.append((one, rates.convert(one), rates.used_for(one), rates.newest, len(log)))
        not_before_ms = earliest_in_force_ms(now_ms, tolerance_ms)
        log += later_tables(log, data.draw(day_tables()), not_before_ms, may_correct=data.draw(st.booleans()))
    times = [table.effective_from_ms for table in log]
    assert times == sorted(set(times))
    trained = ExchangeRates(log, into)
    for one, converted, used, newest, length in decided:
        assert all(np.array_equal(then, now) for then, now in zip(converted, trained.convert(one), strict=True))
        assert trained.used_for(one) == used
        assert ExchangeRates(log[:length], into).newest == newest


@given(st.lists(st.tuples(st.sampled_from((*CURRENCIES, "EUR", "XTS")), AMOUNTS, st.integers(-5, 50)), min_size=1))
def test_a_payment_converts_alike_in_whatever_batch(drawn):
    rates = ExchangeRates(first_tables({day(n): {"USD": 1.1 + n / 100, "JPY": 170.0} for n in range(0, 40, 3)}), "USD")
    rows = payments([(currency, amount, START_MS + at * DAY_MS) for currency, amount, at in drawn])
    whole = rates.convert(rows)
    for at in range(len(rows)):
        alone = rates.convert(rows[at : at + 1])
        assert [column[at] for column in whole] == [column[0] for column in alone]


@given(st.sampled_from(("EUR", *CURRENCIES)), st.sampled_from(("EUR", *CURRENCIES)), st.integers(-(10**9), 10**9))
def test_an_amount_is_worth_what_the_definition_says(currency, into, amount):
    per_euro = {"USD": 1.1, "JPY": 170.25, "KWD": 0.3503, "CLF": 0.0257}
    rates = ExchangeRates([RateTable(day(0), START_MS, per_euro)], into)
    converted = rates.convert(payments([(currency, amount, START_MS)]))
    exact = Fraction(amount, minor_units(currency)) * minor_units(into)
    exact *= Fraction(per_euro.get(into, 1.0)) / Fraction(per_euro.get(currency, 1.0))
    tolerance = Fraction(1, 2) + abs(exact) / 10**14
    assert abs(int(converted.amount_minor[0]) - exact) <= tolerance
    assert converted.units[0] == minor_units(into)
    assert converted.is_foreign[0] == (currency != into)
    assert not converted.is_missing[0]


def test_a_table_is_in_force_from_the_morning_after_its_day_to_the_next_of_its_currency():
    first, second = first_tables({day(0): {"USD": 2.0, "JPY": 100.0}, day(1): {"USD": 4.0}})
    rates = ExchangeRates([first, second], "EUR")
    morning = START_MS + DAY_MS + IN_FORCE_AFTER_DAY_MS
    at = [morning - 1, morning, morning + DAY_MS - 1, morning + DAY_MS]
    dollars, yen = (payments([(currency, 4000, time_ms) for time_ms in at]) for currency in ("USD", "JPY"))
    assert rates.convert(dollars).value_minor.to_list() == [None, 2000, 2000, 1000]
    assert rates.convert(yen).value_minor.to_list() == [None, 4000, 4000, 4000]
    names = [None, first.name, first.name, second.name]
    assert rates.used_for(dollars) == (names, [True, False, False, False])


def test_a_currency_without_a_rate_stays_in_its_own_units_and_its_own_currency_needs_none():
    rates = ExchangeRates([], "KWD")
    converted = rates.convert(payments([("JPY", 5, 0), ("XTS", 5, 0), ("KWD", 5, 0)]))
    assert converted.amount_minor.tolist() == [5, 5, 5]
    assert converted.units.tolist() == [1, 100, 1000]
    assert len(set(converted.comparable_with.tolist())) == 3
    assert converted.is_missing.tolist() == [True, True, False]
    assert converted.value_minor.to_list() == [None, None, 5]


def test_a_rate_is_no_rate_any_more_a_year_after_its_day():
    rates = ExchangeRates(first_tables({day(0): {"RUB": 100.0}}), "EUR")
    last_ms = START_MS + GOOD_FOR_MS
    rows = payments([("RUB", 100, last_ms - 1), ("RUB", 100, last_ms)])
    assert rates.convert(rows).is_missing.tolist() == [False, True]


def test_a_huge_amount_stays_a_number_whose_sums_are_exact():
    rates = ExchangeRates([RateTable(day(0), START_MS, {"USD": 1e-9, "JPY": 1e12})], "JPY")
    converted = rates.convert(payments([("USD", 10**13, START_MS), ("USD", -(10**13), START_MS)]))
    assert converted.amount_minor.tolist() == [10**15, -(10**15)]
    assert np.iinfo(np.int64).max > 1000 * 10**15


def test_of_rates_that_come_too_late_the_newest_of_each_currency_is_added():
    log = first_tables({day(0): {"USD": 1.0, "JPY": 100.0}})
    now_ms = START_MS + 10 * DAY_MS
    late = {day(2): {"USD": 2.0, "KWD": 0.5}, day(3): {"USD": 3.0}, day(-5): {"JPY": 90.0}, day(9): {"JPY": 120.0}}
    added = later_tables(log, late, now_ms)
    assert [(table.day, dict(table.rates)) for table in added] == [
        (day(2), {"KWD": 0.5}),
        (day(3), {"USD": 3.0}),
        (day(9), {"JPY": 120.0}),
    ]
    assert [table.effective_from_ms for table in added] == [now_ms, now_ms + 1, START_MS + 10 * DAY_MS + 6 * HOUR_MS]


def test_a_correction_is_added_only_where_one_is_asked_for():
    log = first_tables({day(0): {"USD": 1.0, "JPY": 100.0}})
    again = {day(0): {"USD": 2.0, "JPY": 100.0}}
    assert later_tables(log, again, START_MS + 5 * DAY_MS) == []
    (added,) = later_tables(log, again, START_MS + 5 * DAY_MS, may_correct=True)
    assert (added.rates, added.effective_from_ms) == ({"USD": 2.0}, START_MS + 5 * DAY_MS)


def test_the_daily_run_publishes_before_a_table_is_in_force():
    """At 03:00 UTC, the table of the day before, with the tolerance that is set by default."""
    log = first_tables({day(0): {"USD": 1.0}})
    run_ms = START_MS + 2 * DAY_MS + 3 * HOUR_MS
    (added,) = later_tables(log, {day(1): {"USD": 2.0}}, earliest_in_force_ms(run_ms, 300_000))
    assert added.effective_from_ms == START_MS + 2 * DAY_MS + IN_FORCE_AFTER_DAY_MS


@pytest.mark.parametrize(("changed"), [("2026-01-02", START_MS, {"USD": 1.1}), (day(0), 1, {"USD": 1.1})])
def test_the_name_of_a_table_tells_it_from_any_other(changed):
    table = RateTable(day(0), START_MS, {"USD": 1.1, "JPY": 170.0})
    assert RateTable(day(0), START_MS, {"JPY": 170.0, "USD": 1.1}).name == table.name
    assert RateTable(*changed).name != RateTable(day(0), START_MS, {"USD": 1.1}).name
    assert table.name.startswith("2026-01-01-")


def test_the_installed_history_of_the_ecb_has_the_rates_it_published():
    days = ecb_rates()
    assert days["1999-01-04"]["USD"] == 1.1789
    assert days["2022-03-01"]["RUB"] == 117.201
    assert "RUB" not in days["2022-03-02"]
    assert not {"EUR", "", None} & {currency for rates in days.values() for currency in rates}
    assert all(rate > 0 for rates in days.values() for rate in rates.values())
