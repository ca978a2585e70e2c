"""Times as producers write them: ISO 8601 in its usual spellings, and numbers since 1970. One meaning each."""

import re
from datetime import UTC, datetime, tzinfo
from reprlib import repr as quoted  # of a bounded length, however deep the value
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fraud_core.timestamps import EPOCH, MILLISECOND, SECOND_MS, parse_rfc3339_ms

EARLIEST_MS = parse_rfc3339_ms("1990-01-01T00:00:00Z")
"""No card payment of today is older. What is, is a default date (year 1, 1900, 1970) or a number in another unit."""

# Numbers since 1970 by magnitude: below the first one seconds, and so on. Each covers the years 1990 to 5138.
_UNITS = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9))
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?(E\+?\d+)?", re.ASCII)
_SPELLING = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d|\d{8})"
    r"(?:[T ]\s*(?P<time>\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?|\d{4}(?:\d\d(?:[.,]\d+)?)?))?"
    r"\s*(?P<zone>(?:Z|UTC|GMT|(?:UTC|GMT)?[+-]\d\d(?::?\d\d)?)?)(?:\s*UTC|\[[\w/+-]+\])?",
    re.ASCII,
)


def known_zone(name: str) -> str:
    """``name`` of a zone of the IANA database. ValueError with a sentence when there is none of that name."""
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{name} is no time zone: use an IANA name such as Europe/Berlin or UTC") from error


def parse_time_ms(value: object, zone: tzinfo | None = None) -> int:
    """Milliseconds since 1970 UTC of a text or number; digits beyond the millisecond are cut off.

    zone : of a time that states none. ValueError with a sentence when the value is no time, states no zone and none is
    given, or lies before EARLIEST_MS.

    >>> [parse_time_ms(text) for text in ("2026-01-31 11:00:00 UTC", "20260131T120000+0100", 1769857200)]
    [1769857200000, 1769857200000, 1769857200000]
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{quoted(value)} is neither a text nor a number")
    text = str(value).strip().upper().replace("\N{MINUS SIGN}", "-")
    is_number = not isinstance(value, str) or (_NUMBER.fullmatch(text) and not _is_compact_date(text))
    time_ms = _of_number(value, text) if is_number else _of_text(value, text, zone)
    if time_ms < EARLIEST_MS:
        raise ValueError(f"{quoted(value)} lies before 1990: a default date, or a number in another unit")
    return time_ms


def _is_compact_date(text: str) -> bool:
    """Eight digits are a date (20260131) before they are seconds, which would lie in 1970."""
    return len(text) == 8 and text.isdigit()


def _of_number(value: object, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{quoted(value)} is no time")
    number = float(text) if "." in text or "E" in text else int(text)
    unit = next((unit for below, unit in _UNITS if abs(number) < below), None)
    if unit is None:
        raise ValueError(f"{quoted(value)} is too large for nanoseconds since 1970")
    return int(number * SECOND_MS // unit) if isinstance(number, float) else number * SECOND_MS // int(unit)


def _of_text(value: object, text: str, zone: tzinfo | None) -> int:
    found = _SPELLING.fullmatch(text)
    if not found:
        raise ValueError(f"{quoted(value)} is no time: write it as 2026-01-31T12:00:00Z")
    if not found["time"]:
        raise ValueError(f"{quoted(value)} has no time of day")
    clock = found["time"].replace(",", ".")
    # A leap second is the last one of its minute: nothing of ours knows a minute of 61.
    clock = re.sub(r"^(\d\d:?\d\d:?)60", r"\g<1>59", clock)
    offset = re.sub(r"^(UTC|GMT)(?=[+-])", "", found["zone"])
    offset = "+00:00" if offset in ("Z", "UTC", "GMT") else offset
    try:
        moment = datetime.fromisoformat(f"{found['date']}T{clock}{offset}")
    except ValueError as error:
        raise ValueError(f"{quoted(value)} is no time: {error}") from error
    if moment.tzinfo is None:
        if zone is None:
            raise ValueError(
                f"{quoted(value)} has no zone: end it with Z or an offset such as +01:00, or set FRAUD_TIME_ZONE to "
                "the zone its producers mean"
            )
        moment = moment.replace(tzinfo=zone)
    try:
        return (moment.astimezone(UTC) - EPOCH) // MILLISECOND
    except OverflowError as error:
        raise ValueError(f"{quoted(value)} lies outside the years 1 to 9999") from error
