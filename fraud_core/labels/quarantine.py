"""Which labels are not to be believed until a person has looked: floods of false ones, by source and day.

A source's labels of one day are held together. They are compared with the same source's own days before, because what
is much for one is little for another. A day here is the day they came on, inferred from the label times around
them: a label dated back to another day came with those it arrived among.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from fraud_core.timestamps import DAY_MS, iso_date

HISTORY_DAYS = 28
LEAST_HISTORY_DAYS = 7  # before that, a source has no usual volume yet

# Measured: docs/operations.md. Generous, because an honest source may well treble: a first model in production gives
# analysts several times the alerts they had.
_MOST_TIMES_THE_MEAN = 10
_MOST_AT_LEAST = 50
_MOST_MORE_CONTRADICTIONS = 0.25
_MOST_OTHER_FRAUD_SHARE = 0.5
_TOO_FEW_TO_JUDGE = 20

Positions = dict[int, tuple[int, int]]
"""Partition to the first and the last offset."""


@dataclass(frozen=True)
class Batch:
    """The labels of one source on one day: ``positions`` hold all its labels of that day, and none of another."""

    source: str
    day: str
    reason: str
    labels: int
    positions: Positions

    @property
    def name(self) -> str:
        """
        >>> Batch("analyst", "2026-03-01", "", 0, {}).name
        'analyst/2026-03-01'
        """
        return f"{self.source}/{self.day}"


@dataclass(frozen=True)
class _Counts:
    """Of a day, or the sum of several."""

    labels: int = 0
    frauds: int = 0
    contradictions: int = 0

    def __add__(self, other: "_Counts") -> "_Counts":
        return _Counts(*(getattr(self, name) + getattr(other, name) for name in vars(self)))


@dataclass(frozen=True)
class _History:
    """A source's labels of the days before: the number of days (up to HISTORY_DAYS), and the labels in all."""

    days: int
    total: _Counts

    @property
    def is_long_enough(self) -> bool:
        return self.days >= LEAST_HISTORY_DAYS


def received_day(labels: pl.DataFrame, known_ms: int) -> pl.DataFrame:
    """``labels`` in order of arrival, with ``day`` (Int64, UTC days since 1970): when each came.

    labels : labels.LABEL_COLUMNS. known_ms : labels dated later than this do not move the clock.
    The clock of a partition is the newest label time seen in it so far, so it never goes back.
    """
    clock = pl.when(pl.col("label_time_ms") <= known_ms).then("label_time_ms").cum_max().forward_fill().backward_fill()
    return labels.sort("partition", "offset").with_columns(day=clock.over("partition").fill_null(known_ms) // DAY_MS)


def suspicious(labels: pl.DataFrame, known_ms: int, released: Collection[str] = ()) -> list[Batch]:
    """The batches that look like a flood of false labels, oldest first.

    labels : labels.LABEL_COLUMNS, everything that came. known_ms : as in ``received_day``.
    released : names of batches that a person found right.
    A batch is judged by each of _RULES. A suspicious one is history for none, and contradicting it is no contradiction:
    who sets it right must not become suspicious for that.
    """
    came, found = received_day(labels, known_ms), []
    while (batch := _first_suspicious(came, released)) is not None:
        found.append(batch)
        came = without(came, [batch])
    return found


def without(labels: pl.DataFrame, held: Collection[Batch]) -> pl.DataFrame:
    """``labels`` without those of the batches."""
    for batch in held:
        is_source = pl.col("source") == batch.source
        for partition, (first, last) in batch.positions.items():
            is_of_batch = (pl.col("partition") == partition) & pl.col("offset").is_between(first, last)
            labels = labels.filter(~(is_source & is_of_batch))
    return labels


def held_after(lines: Sequence[Mapping[str, Any]]) -> dict[str, Batch]:
    """The batches that are held, by name, oldest first.

    lines : what was written down, oldest first: ``action`` "hold" or "release", ``batch`` its name, and of a batch that
    is held the fields of Batch, in JSON types.
    """
    held: dict[str, Batch] = {}
    for line in lines:
        if line["action"] == "release":
            held.pop(line["batch"], None)
        else:
            positions = {int(partition): tuple(bounds) for partition, bounds in line["positions"].items()}
            held[line["batch"]] = Batch(line["source"], line["day"], line["reason"], line["labels"], positions)
    return held


def released_in(lines: Sequence[Mapping[str, Any]]) -> set[str]:
    """Names of the batches that were ever released. lines : as in ``held_after``."""
    return {line["batch"] for line in lines if line["action"] == "release"}


def _first_suspicious(came: pl.DataFrame, released: Collection[str]) -> Batch | None:
    """The largest of the first day that has any."""
    before: dict[str, dict[int, _Counts]] = {}
    for day, source, *counted in _by_day_and_source(came).rows():
        of_source, of_day = before.setdefault(source, {}), _Counts(*counted)
        history = _history(of_source, day)
        reasons = [reason for rule in _RULES if (reason := rule(of_day, history))]
        name = iso_date(day * DAY_MS)
        if reasons and f"{source}/{name}" not in released:
            own = came.filter(pl.col("day") == day, pl.col("source") == source)
            return Batch(source, name, "; ".join(reasons), of_day.labels, _positions(own))
        of_source[day] = of_day
    return None


def _by_day_and_source(came: pl.DataFrame) -> pl.DataFrame:
    """day, source and the fields of _Counts; earlier days first, and of a day the source with the most."""
    contradicts = pl.col("is_fraud") != pl.col("is_fraud").shift().over("transaction_id")
    return (
        came.with_columns(contradicts=contradicts.fill_null(False))
        .group_by("day", "source")
        .agg(labels=pl.len(), frauds=pl.col("is_fraud").sum(), contradictions=pl.col("contradicts").sum())
        .sort("day", "labels", "source", descending=[False, True, False])
    )


def _history(before: dict[int, _Counts], day: int) -> _History:
    begin = max(min(before, default=day), day - HISTORY_DAYS)
    return _History(day - begin, sum((counts for at, counts in before.items() if at >= begin), _Counts()))


def _positions(labels: pl.DataFrame) -> Positions:
    ranges = labels.group_by("partition").agg(first=pl.col("offset").min(), last=pl.col("offset").max())
    return {partition: (first, last) for partition, first, last in ranges.sort("partition").rows()}


def _too_many(verdict: str, count: Callable[[_Counts], int]) -> Callable[[_Counts, _History], str | None]:
    def rule(day: _Counts, history: _History) -> str | None:
        mean = count(history.total) / history.days if history.days else 0.0
        if history.is_long_enough and count(day) > _MOST_TIMES_THE_MEAN * mean + _MOST_AT_LEAST:
            return f"{count(day):,} labels say {verdict}, against {mean:.1f} a day in the {history.days} days before"
        return None

    return rule


def _too_contradictory(day: _Counts, history: _History) -> str | None:
    count, share = day.contradictions, day.contradictions / day.labels
    usual = history.total.contradictions / max(history.total.labels, 1)
    if count >= _TOO_FEW_TO_JUDGE and share > usual + _MOST_MORE_CONTRADICTIONS:
        return f"{count:,} of {day.labels:,} labels contradict an earlier one ({share:.0%}; usual {usual:.0%})"
    return None


def _other_share_of_fraud(day: _Counts, history: _History) -> str | None:
    if not history.is_long_enough or min(day.labels, history.total.labels) < _TOO_FEW_TO_JUDGE:
        return None
    usual, share = history.total.frauds / history.total.labels, day.frauds / day.labels
    if abs(share - usual) > _MOST_OTHER_FRAUD_SHARE:
        return f"{share:.0%} of {day.labels:,} labels say fraud, against {usual:.0%} in the {history.days} days before"
    return None


_RULES = (
    _too_many("fraud", lambda counts: counts.frauds),
    _too_many("genuine", lambda counts: counts.labels - counts.frauds),
    _too_contradictory,
    _other_share_of_fraud,
)
