"""Every usual spelling of one moment is that moment; what could be two moments, or is no payment's, is refused."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_core.payments.times import EARLIEST_MS, parse_time_ms
from fraud_core.timestamps import parse_rfc3339_ms

NOON_MS = parse_rfc3339_ms("2026-01-31T11:00:00Z")

MOMENTS = st.datetimes(datetime(1990, 1, 2), datetime(2100, 1, 1))
OFFSETS = st.integers(-14 * 60, 14 * 60)


@pytest.mark.parametrize(
    "written",
    [
        "2026-01-31T11:00:00Z",
        "2026-01-31t11:00:00z",
        "2026-01-31 11:00:00+00:00",
        "2026-01-31 11:00:00+0000",
        "2026-01-31 11:00:00 +0000",
        "2026-01-31 11:00:00+00",
        "2026-01-31 11:00:00 UTC",
        "2026-01-31 11:00:00 GMT",
        "2026-01-31 11:00:00 +0000 UTC",  # Go
        "2026-01-31T12:00:00+01:00[Europe/Berlin]",  # Java's ZonedDateTime
        "2026-01-31T11:00:00Z[UTC]",
        "20260131T110000Z",
        "2026-01-31T11:00Z",
        "2026-01-31T11:00:00,000Z",
        "2026-01-31T11:00:00.000000999Z",
        "2026-01-31 12:00:00 UTC+01:00",
        "2026-01-31T10:00:00\u221201:00",  # a minus sign, as ISO 8601 has it
        " 2026-01-31T11:00:00Z\n",
        1769857200,
        1769857200.0,
        1769857200000,
        1769857200000000,
        1769857200000000000,
        "1769857200",
        "1769857200.000999",
        "1.7698572E+9",
        "1769857200000",
    ],
)
def test_a_moment_is_read_in_each_usual_spelling(written):
    assert parse_time_ms(written) == NOON_MS


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("0001-01-01T00:00:00Z", "before 1990"),
        ("0001-01-01T00:00:00+01:00", "outside the years"),
        ("9999-12-31T23:59:59-05:00", "outside the years"),
        ("1900-01-01T00:00:00Z", "before 1990"),
        (0, "before 1990"),
        (-1, "before 1990"),
        ("1970-01-01T00:00:00Z", "before 1990"),
        (10**21, "too large"),
        ("9" * 400, "too large"),
        (float("nan"), "no time"),
        (float("inf"), "no time"),
        ("", "no time"),
        ("yesterday", "no time"),
        ("2026-13-01T00:00:00Z", "no time"),
        ("2026-01-31T25:00:00Z", "no time"),
        ("2026-01-31T11:00:00+25:00", "no time"),
        ("2026-01-31 11:00:00 EST", "no time"),
        ("31/01/2026 11:00", "no time"),
        ("2026-01-31", "no time of day"),
        ("20260131", "no time of day"),
        ("2026-01-31 11:00:00", "FRAUD_TIME_ZONE"),
        ("2026-01-31T11:00:00", "no zone"),
        (True, "neither"),
        (None, "neither"),
        ([2026, 1, 31], "neither"),
    ],
)
def test_what_is_no_one_moment_is_refused_with_the_reason(written, reason):
    with pytest.raises(ValueError, match=reason):
        parse_time_ms(written)


def test_a_stated_zone_is_that_of_a_time_without_one_and_of_no_other():
    berlin = ZoneInfo("Europe/Berlin")
    assert parse_time_ms("2026-01-31 12:00:00", berlin) == NOON_MS
    assert parse_time_ms("2026-01-31 11:00:00Z", berlin) == NOON_MS
    assert parse_time_ms("2026-07-31 12:00:00", berlin) == parse_rfc3339_ms("2026-07-31T10:00:00Z")


def test_a_leap_second_is_the_last_second_of_its_minute():
    assert parse_time_ms("2016-12-31T23:59:60Z") == parse_rfc3339_ms("2016-12-31T23:59:59Z")


@given(MOMENTS, OFFSETS, st.sampled_from("T t"), st.sampled_from((":", "")))
def test_iso_8601_of_any_offset_is_read_as_rfc_3339_is(moment, offset, separator, colon):
    local = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    sign, (hours, minutes) = "-" if offset < 0 else "+", divmod(abs(offset), 60)
    written = moment.isoformat(sep=separator, timespec="microseconds") + f"{sign}{hours:02}{colon}{minutes:02}"
    assert parse_time_ms(written) == parse_rfc3339_ms(local.isoformat())


@given(st.integers(EARLIEST_MS, 4_102_444_800_000), st.sampled_from((1, 1_000, 1_000_000)))
def test_a_number_says_its_unit_by_its_magnitude(time_ms, per_ms):
    assert parse_time_ms(time_ms * per_ms) == time_ms
    assert parse_time_ms(str(time_ms * per_ms)) == time_ms
    assert parse_time_ms(time_ms // 1000) == time_ms // 1000 * 1000


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans()))
def test_anything_gives_a_time_of_a_payment_or_a_sentence(written):
    try:
        time_ms = parse_time_ms(written, UTC)
    except ValueError as error:
        assert str(error)
    else:
        assert time_ms >= EARLIEST_MS
