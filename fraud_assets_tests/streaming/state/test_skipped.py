"""Offsets that hold no record to decide are counted once, whatever runs again and whenever the job starts anew."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.state.checkpoint import OffsetRange
from streaming.state.skipped import SkippedOffsets

pytestmark = pytest.mark.streaming

# Of each micro-batch: how many offsets a partition advances, how many of them are empty, how often it runs, and whether
# the job starts anew after it.
BATCHES = st.lists(
    st.tuples(
        st.dictionaries(st.integers(0, 2), st.tuples(st.integers(1, 9), st.integers(0, 9))),
        st.integers(1, 3),
        st.booleans(),
    ),
    max_size=8,
)


@given(st.fixed_dictionaries({partition: st.integers(0, 50) for partition in range(3)}), BATCHES)
def test_what_is_skipped_is_what_comes_before_the_beginning_and_what_holds_no_record(beginning, batches):
    with TemporaryDirectory() as folder:
        file = Path(folder) / "skipped.json"
        skipped, ends, expected = SkippedOffsets(file), dict(beginning), dict(beginning)
        for advances, runs, starts_anew in batches:
            ranges, records = {}, {}
            for partition, (length, empty) in advances.items():
                ranges[partition] = OffsetRange(beginning[partition], ends[partition], ends[partition] + length)
                records[partition] = max(0, length - empty)
                ends[partition] += length
                expected[partition] += length - records[partition]
            for _ in range(runs):
                skipped.add(ranges, records)
            if starts_anew:
                skipped = SkippedOffsets(file)
                skipped.add(ranges, records)  # as the micro-batch that was not committed
            assert skipped.counts(beginning) == expected


def test_producers_without_transactions_cost_no_write(tmp_path):
    skipped = SkippedOffsets(tmp_path / "skipped.json")
    skipped.add({0: OffsetRange(5, 5, 15)}, {0: 10})
    assert list(tmp_path.iterdir()) == []
    assert skipped.counts({0: 5, 1: 7}) == {0: 5, 1: 7}
