import polars as pl
import pytest

from fraud_assets.lake.offset_log import OffsetLog, TopicRange

pytestmark = pytest.mark.assets

COLUMNS = {"offset": pl.Int64}


def append(log: OffsetLog, end: int) -> None:
    new = log.pending({0: 0}, {0: end})
    with log.append(new) as folder:
        pl.DataFrame({"offset": range(new.start[0], new.end[0])}).write_parquet(folder / "rows.parquet")


def rows(log: OffsetLog) -> list[int]:
    return sorted(log.scan(COLUMNS).collect()["offset"])


def test_ranges_follow_one_another_without_gap_or_overlap(tmp_path):
    log = OffsetLog(tmp_path / "log")
    for end in (5, 8, 20):
        append(log, end)
    assert rows(log) == list(range(20))
    assert log.position() == {0: 20}


def test_a_log_nobody_wrote_to_is_empty(tmp_path):
    log = OffsetLog(tmp_path / "log")
    assert rows(log) == []
    assert log.position() == {}
    assert len(log.pending({0: 0, 1: 0}, {0: 0, 1: 0})) == 0


def test_a_run_that_dies_leaves_nothing_and_the_next_one_reads_the_same_offsets(tmp_path):
    log = OffsetLog(tmp_path / "log")
    append(log, 5)
    with pytest.raises(OSError, match="disk full"), log.append(log.pending({0: 0}, {0: 9})) as folder:
        pl.DataFrame({"offset": [5, 6]}).write_parquet(folder / "rows.parquet")
        raise OSError("disk full")
    assert rows(log) == list(range(5))
    append(log, 9)
    assert rows(log) == list(range(9))
    assert len(list((tmp_path / "log").iterdir())) == 2


def test_of_two_runs_that_read_the_same_offsets_only_one_counts(tmp_path):
    log = OffsetLog(tmp_path / "log")
    slow = log.pending({0: 0}, {0: 7})
    with pytest.raises(FileExistsError, match=r"another run has read 0: 0\.\.7"), log.append(slow) as folder:
        append(log, 5)
        pl.DataFrame({"offset": range(7)}).write_parquet(folder / "rows.parquet")
    assert rows(log) == list(range(5))


def test_a_column_that_a_version_before_did_not_write_is_null_and_one_of_its_own_is_left_out(tmp_path):
    log = OffsetLog(tmp_path / "log")
    append(log, 2)
    with log.append(log.pending({0: 0}, {0: 3})) as folder:
        pl.DataFrame({"offset": [2], "type": ["refund"], "gone": [1.5]}).write_parquet(folder / "rows.parquet")
    found = log.scan({"type": pl.String, **COLUMNS}).collect().sort("offset")
    assert found.rows() == [(None, 0), (None, 1), ("refund", 2)]


def test_what_the_topic_no_longer_keeps_is_skipped(tmp_path):
    log = OffsetLog(tmp_path / "log")
    append(log, 5)
    assert log.pending({0: 8}, {0: 12}) == TopicRange({0: 8}, {0: 12})


def test_a_partition_added_to_the_topic_is_read_from_its_beginning(tmp_path):
    log = OffsetLog(tmp_path / "log")
    append(log, 5)
    assert log.pending({0: 0, 1: 0}, {0: 5, 1: 3}) == TopicRange({0: 5, 1: 0}, {0: 5, 1: 3})


def test_a_topic_that_was_made_anew_is_refused_with_what_to_do(tmp_path):
    log = OffsetLog(tmp_path / "log")
    append(log, 5)
    with pytest.raises(ValueError, match=r"made anew\. Move that folder away"):
        log.pending({0: 0}, {0: 3})


def test_rows_that_an_earlier_version_wrote_with_other_columns_are_refused_with_what_to_do(tmp_path):
    log = OffsetLog(tmp_path / "log")
    append(log, 5)
    with pytest.raises(ValueError, match=r"of an earlier version, without amount_minor: move the folder .*log away"):
        log.scan({"offset": pl.Int64, "amount_minor": pl.Int64})
