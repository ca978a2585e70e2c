"""Which days a backtest trains, validates and tests on: a daily run's, in the past.

The test period is the days after the training: a model trained on ``test_start`` knows the labels of that day, which
are mature only for payments at least a label delay older.
"""

from dataclasses import dataclass

import polars as pl

from fraud_core.timestamps import DAY_MS, earliest_ms, iso_date, latest_ms
from fraud_core.training.split import Period, TimeSplit


@dataclass(frozen=True)
class Protocol:
    """The first fold, and how the others follow. Times are UTC midnights in ms, ends are exclusive.

    train_days : from the start of training to train_end, validation and gap included; cut where the data begin.
    step_days : fold k (0, 1, ...) starts ``k * step_days`` later.
    """

    train_end_ms: int
    test_start_ms: int
    test_days: int
    train_days: int
    label_delay_days: int
    validation_days: int
    folds: int = 1
    step_days: int = 7


@dataclass(frozen=True)
class Fold:
    """as_of_ms : the day of the training, when the test begins. Training uses only the labels known by then."""

    number: int
    as_of_ms: int
    split: TimeSplit


def make_folds(protocol: Protocol, event_time_ms: pl.Series) -> list[Fold]:
    """The folds in order of time. ValueError, naming dates, when one violates the protocol or lies outside the data."""
    covered = (_midnight(earliest_ms(event_time_ms)), _midnight(latest_ms(event_time_ms)) + DAY_MS)
    first_end_ms = protocol.test_start_ms - protocol.label_delay_days * DAY_MS
    if protocol.train_end_ms > first_end_ms:
        raise ValueError(
            f"training may end on {iso_date(first_end_ms)} at the latest, not on {iso_date(protocol.train_end_ms)}: "
            f"with a label delay of {protocol.label_delay_days} days, later labels are not known when the test starts "
            f"on {iso_date(protocol.test_start_ms)}. Bring the end of training forward, or start the test later"
        )
    if protocol.folds > 1 and protocol.step_days < 1:
        raise ValueError("folds 0 days apart are identical: take a step of a day at least")
    return [_fold(protocol, number, covered) for number in range(1, protocol.folds + 1)]


def _fold(protocol: Protocol, number: int, covered: Period) -> Fold:
    moved_ms = (number - 1) * protocol.step_days * DAY_MS
    delay_ms = protocol.label_delay_days * DAY_MS
    train_end, test_start = protocol.train_end_ms + moved_ms, protocol.test_start_ms + moved_ms
    test = (test_start, test_start + protocol.test_days * DAY_MS)
    validation = (train_end - protocol.validation_days * DAY_MS, train_end)
    train = (max(train_end - protocol.train_days * DAY_MS, covered[0]), validation[0] - delay_ms)
    where = f"fold {number}: " if protocol.folds > 1 else ""
    for name, (start, end) in (("training", (train_end - protocol.train_days * DAY_MS, train_end)), ("test", test)):
        # Training may reach back further than the data.
        if end > covered[1] or end <= covered[0]:
            raise ValueError(
                f"{where}the {name} period {iso_date(start)} to {iso_date(end)} (end exclusive) is not in the data, "
                f"which cover {iso_date(covered[0])} to {iso_date(covered[1])} (end exclusive): take other dates"
            )
    if train[0] >= train[1]:
        days = (train_end - train[0]) // DAY_MS
        held_out_days = protocol.validation_days + protocol.label_delay_days
        raise ValueError(
            f"{where}{days} days up to the end of training leave none to train on: validation "
            f"({protocol.validation_days} days) and the label delay before it ({protocol.label_delay_days} days) take "
            f"{held_out_days}. Give more training days or earlier data, or shorten FRAUD_VALIDATION_DAYS or the delay"
        )
    return Fold(number, test_start, TimeSplit(train, validation, test))


def _midnight(time_ms: int) -> int:
    return time_ms // DAY_MS * DAY_MS
