"""RFC 3339 text to UTC milliseconds and back. All times inside the system are int64 milliseconds since 1970, UTC."""

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import polars as pl

SECOND_MS = 1000
HOUR_MS = 3600 * SECOND_MS
DAY_MS = 24 * HOUR_MS

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def parse_rfc3339_ms(text: str) -> int:
    """Milliseconds since 1970 UTC; digits beyond the millisecond are cut off.

    >>> parse_rfc3339_ms("2026-01-31T12:00:00.123+01:00")
    1769857200123

    Raises ValueError when the text is no date, or has no zone: a time without a zone is not a point in time.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no zone: end it with Z or an offset such as +01:00")
    return (moment - EPOCH) // MILLISECOND


def format_rfc3339_ms(time_ms: int) -> str:
    """
    >>> format_rfc3339_ms(1769857200123)
    '2026-01-31T11:00:00.123Z'
    """
    return (EPOCH + time_ms * MILLISECOND).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_date(time_ms: int) -> str:
    """
    >>> iso_date(1769857200123)
    '2026-01-31'
    """
    return (EPOCH + time_ms * MILLISECOND).date().isoformat()


def iso_date_ms(date: str) -> int:
    """The midnight a day begins with.

    >>> iso_date_ms("2026-01-31")
    1769817600000
    """
    return (datetime.fromisoformat(date).replace(tzinfo=UTC) - EPOCH) // MILLISECOND


def earliest_ms(times: "pl.Series") -> int:
    """Of int64 milliseconds since 1970, at least one of them not null."""
    return cast(int, times.min())


def latest_ms(times: "pl.Series") -> int:
    """Of int64 milliseconds since 1970, at least one of them not null."""
    return cast(int, times.max())


def day_of(column: str) -> "pl.Expr":
    """``day`` (Date, UTC) of a column of milliseconds since 1970."""
    import polars as pl  # here: processes without a table import this module too

    return pl.from_epoch(column, time_unit="ms").dt.date().alias("day")
