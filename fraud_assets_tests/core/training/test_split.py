from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_core.timestamps import DAY_MS, HOUR_MS, parse_rfc3339_ms
from fraud_core.training.split import PurgedTimeSeriesSplit, TimeSplit

AS_OF_MS = parse_rfc3339_ms("2026-03-02T00:00:00Z")
SPLIT = TimeSplit.as_of(AS_OF_MS, label_delay_days=7, validation_days=7, test_days=14, training_window_days=60)


def labelled(first_day: int, last_day: int) -> pl.DataFrame:
    """One transaction an hour of the days that many before AS_OF_MS; every fifth is fraud."""
    times = np.arange(AS_OF_MS - first_day * DAY_MS, AS_OF_MS - last_day * DAY_MS, HOUR_MS)
    rows = pl.DataFrame({"event_time_ms": times, "is_fraud": np.arange(len(times)) % 5 == 0})
    return rows.with_columns(SPLIT.assign(rows["event_time_ms"]).alias("split"))


def test_the_periods_stand_a_label_delay_apart_and_every_label_is_known_on_the_day():
    days = {
        part: ((start - AS_OF_MS) // DAY_MS, (end - AS_OF_MS) // DAY_MS) for part, (start, end) in SPLIT.parts().items()
    }
    assert days == {"train": (-60, -42), "validation": (-35, -28), "test": (-21, -7)}


def test_a_period_includes_its_start_and_not_its_end_and_a_gap_belongs_to_no_period():
    start, end = SPLIT.validation
    assigned = SPLIT.assign(pl.Series([start - 1, start, end - 1, end]))
    assert assigned.to_list() == [None, "validation", "validation", None]


def test_a_training_window_too_short_for_the_periods_names_the_settings_to_change():
    with pytest.raises(
        ValueError, match=r"window of 42 days leaves no day to train on.*take 42 days.*FRAUD_TRAINING_WIN"
    ):
        TimeSplit.as_of(AS_OF_MS, label_delay_days=7, validation_days=7, test_days=14, training_window_days=42)


def test_a_full_history_trains():
    SPLIT.require_both_classes(labelled(60, 7))


def test_a_history_that_starts_after_the_training_period_is_refused_with_dates_and_counts():
    with pytest.raises(ValueError) as refusal:
        SPLIT.require_both_classes(labelled(40, 7))
    assert str(refusal.value) == (
        "the train period 2026-01-01 to 2026-01-19 (end exclusive) has 0 labelled transactions, 0 of them fraud; "
        "it needs both classes. The labelled transactions cover 2026-01-21 to 2026-02-22. "
        "Bring transactions from before 2026-01-19, or train as of a later day."
    )


def test_a_period_of_one_class_is_refused():
    rows = labelled(60, 7).with_columns(is_fraud=pl.col("is_fraud") & (pl.col("split") != "test"))
    with pytest.raises(ValueError, match=r"the test period .* has 336 labelled transactions, 0 of them fraud"):
        SPLIT.require_both_classes(rows)


def test_no_rows_at_all_is_refused():
    with pytest.raises(ValueError, match=r"no labelled transactions at all"):
        SPLIT.require_both_classes(labelled(7, 7))


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.booleans()), min_size=2, max_size=60),
    st.integers(2, 5),
    st.integers(0, 10**5),
)
def test_folds_are_ordered_purged_by_the_gap_and_validate_each_later_row_once(rows, n_splits, gap_ms):
    times, is_fraud = (np.array(column) for column in zip(*rows, (2 * 10**6, False), strict=True))
    try:
        folds = list(PurgedTimeSeriesSplit(times, is_fraud, n_splits, gap_ms).split(times))
    except ValueError as refusal:
        assert "fewer than one a fold" in str(refusal)
        return
    assert len(folds) == n_splits
    validated = np.concatenate([validation for _, validation in folds])
    assert len(np.unique(validated)) == len(validated)
    assert times.argmax() in validated
    for (train, validation), (later_train, later_validation) in pairwise(folds):
        assert set(train) <= set(later_train)
        if len(validation) and len(later_validation):
            assert times[validation].max() < times[later_validation].min()
    for train, validation in folds:
        if len(train) and len(validation):
            assert times[train].max() + gap_ms < times[validation].min()


@given(st.sets(st.integers(10**6, 2 * 10**6 - 2), min_size=2, max_size=60), st.integers(2, 5))
def test_each_fold_validates_on_as_many_frauds_wherever_they_lie(fraud_times, n_splits):
    times = np.array([0, *fraud_times, 2 * 10**6 - 1])
    is_fraud = np.isin(times, list(fraud_times))
    if (expected := len(fraud_times)) < n_splits:
        return
    frauds = [is_fraud[rows].sum() for _, rows in PurgedTimeSeriesSplit(times, is_fraud, n_splits, 0).split(times)]
    assert sum(frauds) == expected
    assert max(frauds) - min(frauds) <= 1


def test_a_period_too_short_for_the_folds_is_refused_with_its_dates():
    rows = labelled(20, 13)
    with pytest.raises(ValueError, match=r"2026-02-10 to 2026-02-16 is too short for 3 folds with a gap of 7 days"):
        PurgedTimeSeriesSplit(rows["event_time_ms"].to_numpy(), rows["is_fraud"].to_numpy(), 3, 7 * DAY_MS)


def test_a_fold_that_trains_on_too_few_frauds_is_named():
    rows = labelled(40, 12)
    is_fraud = rows["is_fraud"].to_numpy() & (rows["event_time_ms"] >= AS_OF_MS - 30 * DAY_MS).to_numpy()
    folds = PurgedTimeSeriesSplit(rows["event_time_ms"].to_numpy(), is_fraud, 3, 7 * DAY_MS)
    with pytest.raises(
        ValueError, match=r"fold 1 of 3: the training period 2026-01-21 to 2026-01-31 has 252 .*, 3 of them"
    ):
        folds.require_frauds(at_least=7)


def test_a_period_with_fewer_frauds_to_validate_on_than_folds_is_refused_with_its_dates():
    rows = labelled(40, 12)
    is_fraud = rows["is_fraud"].to_numpy() & (rows["event_time_ms"] < AS_OF_MS - 24 * DAY_MS).to_numpy()
    with pytest.raises(ValueError, match=r"2026-02-07 to 2026-02-17, where the 3 folds .* validate, has 0 frauds"):
        PurgedTimeSeriesSplit(rows["event_time_ms"].to_numpy(), is_fraud, 3, 7 * DAY_MS)


def test_a_fold_that_validates_on_no_genuine_row_is_named():
    rows = labelled(40, 12)
    is_late = (rows["event_time_ms"] >= AS_OF_MS - 14 * DAY_MS).to_numpy()
    folds = PurgedTimeSeriesSplit(
        rows["event_time_ms"].to_numpy(), rows["is_fraud"].to_numpy() | is_late, 3, 7 * DAY_MS
    )
    with pytest.raises(ValueError, match=r"fold 3 of 3: the validation period .* has (\d+) transactions, \1 of them"):
        folds.require_frauds(at_least=1)


def test_a_matrix_of_another_length_than_the_event_times_is_refused():
    folds = PurgedTimeSeriesSplit(np.arange(100), np.ones(100), 3, 5)
    with pytest.raises(ValueError, match=r"99 rows to split, but event times of 100"):
        next(folds.split(np.zeros((99, 2))))
