"""Dead letters are counted by the day their record came, once each, and held against the days before."""

from datetime import date

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from fraud_core.monitoring.refusal_rate import TOLERATED_COUNT, refusals_by_day
from fraud_core.payments.dead_letter import DEAD_LETTER_COLUMNS, decode_dead_letters, encode_dead_letter
from fraud_core.timestamps import DAY_MS


def by_day(counts: list[tuple[int, int]], copies: int = 1) -> pl.DataFrame:
    """counts : of each day how many records were decided and refused; ``copies`` of each dead letter."""
    decided = [day * DAY_MS for day, (accepted, _) in enumerate(counts) for _ in range(accepted)]
    refused = [
        (0, day * 10**6 + n, day * DAY_MS, "schema")
        for day, (_, n_refused) in enumerate(counts)
        for n in range(n_refused)
    ]
    letters = pl.LazyFrame(refused * copies, schema=DEAD_LETTER_COLUMNS, orient="row")
    return refusals_by_day(pl.LazyFrame({"ingest_time_ms": decided}, schema={"ingest_time_ms": pl.Int64}), letters)


def alarms(counts: list[tuple[int, int]]) -> list[int]:
    return [(day - date(1970, 1, 1)).days for day in by_day(counts).filter("is_alarm")["day"]]


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 20)), max_size=6), st.integers(1, 3))
def test_every_record_counts_once_however_often_its_dead_letter_was_sent(counts, copies):
    days = by_day(counts, copies)
    assert days["refused"].to_list() == [refused for accepted, refused in counts if accepted + refused]
    assert days["records"].to_list() == [accepted + refused for accepted, refused in counts if accepted + refused]


def test_a_rate_as_usual_is_no_alarm_and_ten_times_that_is():
    usual = [(5000, 25)] * 10
    assert alarms(usual) == [0]  # the first day has nothing before it: 25 of 5,000 is then above what is tolerated
    assert alarms([*usual, (5000, 250)]) == [0, 10]


def test_a_few_are_tolerated_where_none_is_usual():
    assert alarms([(100, 0)] * 3 + [(100, TOLERATED_COUNT)]) == []
    assert alarms([(100, 0)] * 3 + [(100, TOLERATED_COUNT + 1)]) == [3]


def test_a_day_on_which_everything_is_refused_is_an_alarm():
    assert alarms([(1000, 0), (0, 1000)]) == [1]


def test_nothing_gives_no_days():
    assert by_day([]).is_empty()


def test_a_dead_letter_comes_back_with_where_and_when_and_what():
    _, value = encode_dead_letter("transactions", 3, 12, 5, "schema", "amount: x", b"u", b"{}")
    assert decode_dead_letters([value]).rows() == [(3, 12, 5, "schema")]
    assert decode_dead_letters([]).schema == pl.Schema(DEAD_LETTER_COLUMNS)
