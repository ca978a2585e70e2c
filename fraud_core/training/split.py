"""Which rows train, which choose the threshold, which judge: always by time, always a label delay apart.

The label of a row at time t is mature only at t + label delay, so a period may start only one delay after the previous
one ends: otherwise labels and merchant risk would leak into the model what was unknown on the day it predicts.
"""

from collections.abc import Iterator, Sized
from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from fraud_core.timestamps import DAY_MS, earliest_ms, iso_date, latest_ms

Period = tuple[int, int]

_MORE_FRAUDS = "Bring more history or lower FRAUD_SEARCH_FOLDS."


@dataclass(frozen=True)
class TimeSplit:
    """Three half-open intervals [start, end) of event time in ms, in order. Rows between them belong to no period.

    >>> TimeSplit.as_of(100 * DAY_MS, label_delay_days=7, validation_days=7, test_days=14, training_window_days=90)
    TimeSplit(train=(864000000, 5011200000), validation=(5616000000, 6220800000), test=(6825600000, 8035200000))
    """

    train: Period
    validation: Period
    test: Period

    @classmethod
    def as_of(
        cls, as_of_ms: int, *, label_delay_days: int, validation_days: int, test_days: int, training_window_days: int
    ) -> Self:
        """The latest split whose labels are all mature at ``as_of_ms`` (00:00 UTC of the day after the partition).

        Backwards from there: label delay | test | gap | validation | gap | train. The gaps are label delays.
        ValueError when the training window is too short for all of it.
        """
        delay_ms = label_delay_days * DAY_MS
        test_end = as_of_ms - delay_ms
        test_start = test_end - test_days * DAY_MS
        validation_end = test_start - delay_ms
        validation_start = validation_end - validation_days * DAY_MS
        train_end = validation_start - delay_ms
        train_start = as_of_ms - training_window_days * DAY_MS
        if train_start >= train_end:
            held_out_days = (as_of_ms - train_end) // DAY_MS
            raise ValueError(
                f"a training window of {training_window_days} days leaves no day to train on: test, validation and "
                f"three label delays take {held_out_days} days. Lengthen the window (FRAUD_TRAINING_WINDOW_DAYS) or "
                "shorten FRAUD_TEST_DAYS, FRAUD_VALIDATION_DAYS or FRAUD_LABEL_DELAY_DAYS."
            )
        return cls((train_start, train_end), (validation_start, validation_end), (test_start, test_end))

    def parts(self) -> dict[str, Period]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def assign(self, event_time_ms: pl.Series) -> pl.Series:
        """Utf8 of the same length: "train", "validation", "test", or null outside of all three."""
        part = pl.lit(None, dtype=pl.Utf8)
        for name, (start, end) in self.parts().items():
            inside = pl.col("event_time_ms").is_between(start, end, closed="left")
            part = pl.when(inside).then(pl.lit(name)).otherwise(part)
        return event_time_ms.rename("event_time_ms").to_frame().select(part.alias("split")).to_series()

    def require_both_classes(self, rows: pl.DataFrame) -> None:
        """ValueError, naming dates and counts, unless each part holds frauds and genuine transactions.

        rows : columns event_time_ms Int64, split Utf8 (as ``assign`` gives it), is_fraud Boolean.
        """
        for name, (start, end) in self.parts().items():
            part = rows.filter(pl.col("split") == name)
            frauds = int(part["is_fraud"].sum())
            if frauds and frauds < part.height:
                continue
            what = f"{part.height:,} labelled transactions, {frauds:,} of them fraud"
            where = f"the {name} period {iso_date(start)} to {iso_date(end)} (end exclusive)"
            raise ValueError(f"{where} has {what}; it needs both classes. {_covered(rows)}{self._advice(rows)}")

    def _advice(self, rows: pl.DataFrame) -> str:
        if rows.height and earliest_ms(rows["event_time_ms"]) >= self.train[1]:
            return f" Bring transactions from before {iso_date(self.train[1])}, or train as of a later day."
        return " Check that transactions and labels of these days arrived, or train as of another day."


class PurgedTimeSeriesSplit:
    """A scikit-learn splitter with an expanding window: each fold trains on the past and validates after a gap.

    The first half of the period, less one gap, always trains. What follows it and the gap is cut into n_splits parts
    with equally many frauds, because the precision of a fold's figure depends on their number. Fold i (0, 1, ...)
    validates on part i and trains on all rows at least ``gap_ms`` older, whose labels were mature by then.

    event_time_ms, is_fraud : (n,) int64 and bool, of the rows to split, in any order.
    ValueError when the period is too short, or has too few frauds to validate on.
    """

    def __init__(self, event_time_ms: np.ndarray, is_fraud: np.ndarray, n_splits: int, gap_ms: int) -> None:
        self.event_time_ms = np.asarray(event_time_ms, dtype=np.int64)
        self._is_fraud = np.asarray(is_fraud, dtype=bool)
        self.n_splits = n_splits
        self.gap_ms = gap_ms
        if not len(self.event_time_ms):
            raise ValueError("no rows to split into folds")
        self._start = int(self.event_time_ms.min())
        end = int(self.event_time_ms.max()) + 1
        trained_ms = (end - self._start - gap_ms) // 2
        if trained_ms <= 0:
            raise ValueError(
                f"{_period(self._start, end)} is too short for {n_splits} folds with a gap of "
                f"{gap_ms / DAY_MS:g} days: bring more history, or lower FRAUD_SEARCH_FOLDS or FRAUD_LABEL_DELAY_DAYS."
            )
        first = self._start + trained_ms + gap_ms
        frauds = np.sort(self.event_time_ms[self._is_fraud & (self.event_time_ms >= first)])
        if len(frauds) < n_splits:
            raise ValueError(
                f"{_period(first, end)}, where the {n_splits} folds of the search validate, has {len(frauds)} frauds, "
                f"fewer than one a fold. {_MORE_FRAUDS}"
            )
        cuts = frauds[np.arange(1, n_splits) * len(frauds) // n_splits]
        self._validation_bounds = [first, *cuts.tolist(), end]

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None) -> int:  # noqa: N803
        return self.n_splits

    def split(
        self,
        X: Sized,  # noqa: N803 (scikit-learn's names)
        y: object = None,
        groups: object = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pairs of row numbers (train, validation), earliest fold first."""
        if len(X) != len(self.event_time_ms):
            raise ValueError(f"{len(X)} rows to split, but event times of {len(self.event_time_ms)}")
        for fold in range(self.n_splits):
            train_end, start, end = self._bounds(fold)
            is_validation = (self.event_time_ms >= start) & (self.event_time_ms < end)
            yield np.flatnonzero(self.event_time_ms < train_end), np.flatnonzero(is_validation)

    def require_frauds(self, at_least: int) -> None:
        """ValueError, naming dates and counts, if a fold trains on fewer frauds or validates on one class."""
        for fold, (train, validation) in enumerate(self.split(self._is_fraud)):
            train_end, start, end = self._bounds(fold)
            for period, rows, minimum in (
                (f"training period {_period(self._start, train_end)}", train, at_least),
                (f"validation period {_period(start, end)}", validation, 1),
            ):
                frauds = int(self._is_fraud[rows].sum())
                if minimum <= frauds < len(rows):
                    continue
                raise ValueError(
                    f"fold {fold + 1} of {self.n_splits}: the {period} has {len(rows):,} transactions, {frauds:,} of "
                    f"them fraud; it needs at least {minimum} and some genuine ones. {_MORE_FRAUDS}"
                )

    def _bounds(self, fold: int) -> tuple[int, int, int]:
        """End of training, start and end (exclusive) of validation, in ms."""
        start, end = self._validation_bounds[fold : fold + 2]
        return start - self.gap_ms, start, end


def _period(start_ms: int, end_ms: int) -> str:
    return f"{iso_date(start_ms)} to {iso_date(end_ms - 1)}"


def _covered(rows: pl.DataFrame) -> str:
    if not rows.height:
        return "There are no labelled transactions at all."
    times = rows["event_time_ms"]
    return f"The labelled transactions cover {_period(earliest_ms(times), latest_ms(times) + 1)}."
