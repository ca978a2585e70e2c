"""Does today's traffic look like the traffic a model was trained for? By feature, and by score.

Textbook limits (a PSI of 0.1 or 0.2) detect nothing here: amounts raised by a tenth give 0.012. So the limits come from
a stable month: the mean of its daily statistics plus five standard deviations, but never less than chance alone would
give. A column raises an alarm when it was beyond a limit on two of the last three days; a constant column, at once.

Merchant fraud rates rise and fall with each outbreak and would raise alarms in a stable month: of these columns only a
constant one counts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import cast

import numpy as np
import polars as pl

from fraud_core.timestamps import day_of

SCORE = "score"
REFERENCE_DAYS = 28
FEWEST_REFERENCE_DAYS = 14
FEWEST_ROWS = 500  # a day with fewer is not judged
STANDARD_DEVIATIONS = 5.0
ALARM_DAYS, OF_DAYS = 2, 3
_KS_BINS, _PSI_BINS = 200, 20
_SAME_ALL_DAY = ("day_of_week",)
_OF_KNOWN_FRAUD = "fraud"  # part of the names of those features

STATISTICS = {
    "day": pl.Date,
    "name": pl.String,
    "rows": pl.Int64,  # with a value
    "values": pl.Int64,  # how many distinct ones, missing counted as one; 2 stands for two or more
    "psi": pl.Float64,
    "ks": pl.Float64,
}


class TooFewDaysError(Exception):
    """A reference has too few rows or values to show what is normal."""


@dataclass(frozen=True)
class Column:
    """How one name is distributed in the reference. Bin b holds edges[b - 1] < value <= edges[b].

    shares : of the fine bins, which KS looks at. coarse : first fine bin of each bin that PSI looks at.
    psi_limit, ks_limit : for a day of the reference's median size; None when only a constant counts.
    is_varied : on no day of the reference was it constant.
    """

    name: str
    edges: tuple[float, ...]
    shares: tuple[float, ...]
    coarse: tuple[int, ...]
    psi_limit: float | None
    ks_limit: float | None
    is_varied: bool


@dataclass(frozen=True)
class Reference:
    """A stable month, days first to last (ISO dates, both included). rows : on a median day."""

    first: str
    last: str
    rows: int
    columns: tuple[Column, ...]


def monitored(features: Sequence[str]) -> list[str]:
    """The columns monitored: the features that vary within a day, and the score."""
    return [name for name in features if name not in _SAME_ALL_DAY] + [SCORE]


def make_reference(rows: pl.DataFrame, names: Sequence[str]) -> Reference:
    """From the rows of stable days: event_time_ms and ``names``. TooFewDaysError when there are too few.

    Uses the newest REFERENCE_DAYS of the days with at least FEWEST_ROWS rows.
    """
    days = rows.select(day_of("event_time_ms")).group_by("day").len().filter(pl.col("len") >= FEWEST_ROWS).sort("day")
    days = days.tail(REFERENCE_DAYS)
    if days.height < FEWEST_REFERENCE_DAYS:
        raise TooFewDaysError(
            f"{days.height} days with {FEWEST_ROWS} transactions or more are too few to show what is normal: "
            f"{FEWEST_REFERENCE_DAYS} are needed"
        )
    rows = rows.filter(rows.select(day_of("event_time_ms"))["day"].is_in(days["day"].implode()))
    usual = int(cast(float, days["len"].median()))
    first, last = days["day"][0].isoformat(), days["day"][-1].isoformat()
    columns = [_binned(name, rows[name]) for name in names]
    measured = statistics(rows, Reference(first, last, usual, tuple(columns)))
    return Reference(first, last, usual, tuple(_limited(column, measured, usual) for column in columns))


def statistics(rows: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """STATISTICS of each day and name. rows : event_time_ms and the reference's names; null where one is missing.

    A missing feature is a fault; a missing score is not: another model scored the row.
    """
    parts = [
        _of_day(day, part[column.name], column)
        for (day,), part in rows.with_columns(day_of("event_time_ms")).partition_by("day", as_dict=True).items()
        if part.height >= FEWEST_ROWS
        for column in reference.columns
        if column.name != SCORE or part[SCORE].count() >= FEWEST_ROWS
    ]
    return pl.DataFrame(parts, schema=STATISTICS, orient="row").sort("day", "name")


def judge(measured: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """``measured`` (STATISTICS) with excess (1 is the limit), is_beyond, is_constant and is_alarm.

    A day with fewer rows than the reference's is noisier, so its statistics count for less.
    """
    columns = pl.DataFrame(
        [(c.name, c.psi_limit, c.ks_limit, c.is_varied) for c in reference.columns],
        schema={"name": pl.String, "psi_limit": pl.Float64, "ks_limit": pl.Float64, "is_varied": pl.Boolean},
        orient="row",
    )
    size = pl.min_horizontal(1.0, pl.col("rows") / reference.rows)
    excess = pl.max_horizontal(
        pl.col("psi") * size / pl.col("psi_limit"), pl.col("ks") * size.sqrt() / pl.col("ks_limit")
    )
    recent = pl.col("is_beyond").cast(pl.Int64).rolling_sum(OF_DAYS, min_samples=1).over("name", order_by="day")
    return (
        measured.join(columns, on="name", maintain_order="left")
        .with_columns(excess=excess.fill_null(0.0), is_constant=pl.col("is_varied") & (pl.col("values") == 1))
        .with_columns(is_beyond=(pl.col("excess") > 1) | pl.col("is_constant"))
        .with_columns(is_alarm=(pl.col("is_beyond") & (recent >= ALARM_DAYS)) | pl.col("is_constant"))
        .select(*STATISTICS, "excess", "is_beyond", "is_constant", "is_alarm")
    )


@dataclass(frozen=True)
class Alarm:
    """What is wrong on the newest day judged. since : first of the consecutive days with any alarm, or None."""

    drifting: tuple[str, ...]
    constant: tuple[str, ...]
    since: date | None


def newest_alarm(judged: pl.DataFrame) -> Alarm:
    """judged : as ``judge`` gives it."""
    days = judged.group_by("day").agg(pl.col("is_alarm").any()).sort("day")
    quiet = days.filter(~pl.col("is_alarm"))["day"].max()
    alarmed = days.filter("is_alarm", pl.col("day") > (quiet or date.min))["day"]
    newest = judged.filter(pl.col("day") == judged["day"].max(), "is_alarm").sort("name")
    constant = newest.filter("is_constant")["name"].to_list()
    return Alarm(
        tuple(newest.filter(~pl.col("is_constant"))["name"]), tuple(constant), alarmed[0] if len(alarmed) else None
    )


def _binned(name: str, values: pl.Series) -> Column:
    known = values.drop_nulls().to_numpy()
    if not len(known):
        raise TooFewDaysError(f"{name} has no value in the reference")
    fine = np.unique(np.quantile(known, np.arange(1, _KS_BINS) / _KS_BINS, method="lower"))
    coarse = np.unique(np.quantile(known, np.arange(1, _PSI_BINS) / _PSI_BINS, method="lower"))
    starts = np.unique(np.concatenate([[0], np.searchsorted(fine, coarse) + 1]))
    counts = np.bincount(np.searchsorted(fine, known), minlength=len(fine) + 1)
    shares = counts / counts.sum()
    return Column(name, tuple(fine.tolist()), tuple(shares.tolist()), tuple(starts.tolist()), None, None, True)


def _limited(column: Column, measured: pl.DataFrame, usual: int) -> Column:
    of_column = measured.filter(pl.col("name") == column.name)
    # Without any change, PSI is chi-squared with (bins - 1) degrees of freedom, divided by the rows; and a KS distance
    # of 2 / sqrt(rows) occurs once in 1,500 days.
    freedom = len(column.coarse) - 1
    chance = {
        "psi": (freedom + STANDARD_DEVIATIONS * math.sqrt(2 * freedom)) / usual,
        "ks": 2 / math.sqrt(usual),
    }
    limits = {
        name: None if _OF_KNOWN_FRAUD in column.name else max(_usual_limit(of_column[name]), floor)
        for name, floor in chance.items()
    }
    return Column(
        column.name,
        column.edges,
        column.shares,
        column.coarse,
        limits["psi"],
        limits["ks"],
        bool((of_column["values"] > 1).all()),
    )


def _usual_limit(daily: pl.Series) -> float:
    mean, deviation = cast(float, daily.mean()), cast(float, daily.std())
    return mean + STANDARD_DEVIATIONS * deviation


def _of_day(day: date, values: pl.Series, column: Column) -> tuple[date, str, int, int, float, float]:
    known = values.drop_nulls().to_numpy()
    different = 1 + bool(values.null_count() and len(known)) if not len(known) or known.min() == known.max() else 2
    counts = np.bincount(np.searchsorted(column.edges, known), minlength=len(column.edges) + 1)
    shares = np.array(column.shares)
    ks = float(np.abs(np.cumsum(counts) / max(1, len(known)) - np.cumsum(shares)).max()) if len(known) else 1.0
    return day, column.name, len(known), different, _psi(counts, shares, np.array(column.coarse)), ks


def _psi(counts: np.ndarray, shares: np.ndarray, coarse: np.ndarray) -> float:
    """Population stability index of a day's ``counts`` against ``shares``. Half a row in each bin: none is empty."""
    n = counts.sum()
    expected = np.add.reduceat(shares, coarse)
    actual = np.add.reduceat(counts, coarse)
    found = (actual + 0.5) / (n + 0.5 * len(actual))
    wanted = (expected * n + 0.5) / (n + 0.5 * len(actual))
    return float(((found - wanted) * np.log(found / wanted)).sum())
