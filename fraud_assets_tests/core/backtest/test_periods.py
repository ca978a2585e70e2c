from dataclasses import replace

import polars as pl
import pytest

from fraud_core.backtest.periods import Protocol, make_folds
from fraud_core.timestamps import DAY_MS, iso_date, parse_rfc3339_ms


def day(text: str) -> int:
    return parse_rfc3339_ms(f"{text}T00:00:00Z")


EVENTS = pl.Series([day("2026-01-01") + 5000, day("2026-06-30") + 5000])
PROTOCOL = Protocol(
    train_end_ms=day("2026-05-01"),
    test_start_ms=day("2026-05-08"),
    test_days=7,
    train_days=60,
    label_delay_days=7,
    validation_days=7,
)


def dates(protocol: Protocol) -> list[tuple[str, ...]]:
    """For each fold: as-of date, then start and end of training, validation and test."""
    return [
        (iso_date(fold.as_of_ms), *(iso_date(time) for part in fold.split.parts().values() for time in part))
        for fold in make_folds(protocol, EVENTS)
    ]


def test_training_ends_a_label_delay_before_validation_and_the_test_starts_on_the_day_of_the_training():
    assert dates(PROTOCOL) == [
        ("2026-05-08", "2026-03-02", "2026-04-17", "2026-04-24", "2026-05-01", "2026-05-08", "2026-05-15")
    ]


def test_every_fold_moves_all_periods_by_a_step():
    assert dates(replace(PROTOCOL, folds=3, step_days=14))[1:] == [
        ("2026-05-22", "2026-03-16", "2026-05-01", "2026-05-08", "2026-05-15", "2026-05-22", "2026-05-29"),
        ("2026-06-05", "2026-03-30", "2026-05-15", "2026-05-22", "2026-05-29", "2026-06-05", "2026-06-12"),
    ]


def test_training_starts_with_the_data_where_these_do_not_reach_back_far_enough():
    assert dates(replace(PROTOCOL, train_days=1000))[0][1] == "2026-01-01"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"test_start_ms": day("2026-05-07")}, "training may end on 2026-04-30 at the latest, not on 2026-05-01: with"),
        ({"test_days": 55}, r"the test period 2026-05-08 to 2026-07-02 \(end exclusive\) is not in the data, which "),
        ({"folds": 9}, "fold 8: the test period 2026-06-26 to 2026-07-03 .* cover 2026-01-01 to 2026-07-01"),
        ({"train_end_ms": day("2025-12-01")}, "the training period 2025-10-02 to 2025-12-01 .* is not in the data"),
        ({"train_days": 14}, "14 days up to the end of training leave none to train on: .* take 14"),
        ({"train_end_ms": day("2026-01-10")}, "9 days up to the end of training leave none to train on"),
        ({"folds": 2, "step_days": 0}, "take a step of a day at least"),
    ],
)
def test_a_protocol_that_does_not_fit_is_refused_with_its_dates(changes, says):
    with pytest.raises(ValueError, match=says):
        make_folds(replace(PROTOCOL, **changes), EVENTS)


def test_the_last_day_of_the_data_can_be_tested():
    (fold,) = make_folds(replace(PROTOCOL, test_days=54), EVENTS)
    assert fold.split.test[1] == day("2026-06-30") + DAY_MS
