"""A checkpoint with a file that is corrupt: refused with the file's name, and what a repair writes into it."""

import pytest

from fraud_assets_tests.streaming.parts import SparkCheckpoint
from fraud_io.errors import OperatorError
from streaming.commands.repair import rewrite
from streaming.state.checkpoint import Checkpoint, OffsetRange

pytestmark = pytest.mark.streaming


@pytest.fixture
def spark(tmp_path):
    spark = SparkCheckpoint(tmp_path / "checkpoint")
    for batch_id in range(3):
        spark.plan(batch_id, {0: 10 * batch_id + 10, 1: 5})
        spark.commit(batch_id)
    spark.plan(3, {0: 40, 1: 9})
    return spark


@pytest.fixture
def checkpoint(spark):
    return Checkpoint(spark.folder, "transactions")


@pytest.mark.parametrize("name", ["offsets/3", "offsets/2", "commits/2", "commits/0", "metadata", "sources/0/0"])
def test_a_file_cut_at_any_byte_is_refused_by_its_name(checkpoint, name):
    checkpoint.check()
    file = checkpoint.folder / name
    whole = file.read_bytes()
    for size in range(len(whole)):
        file.write_bytes(whole[:size])
        with pytest.raises(OperatorError, match=f"{name} is corrupt"):
            checkpoint.check()
    file.write_bytes(whole)
    checkpoint.check()


def test_the_last_whole_micro_batch_is_the_newest_whose_two_files_can_be_read(checkpoint):
    assert checkpoint.last_whole_batch() == 2
    (checkpoint.folder / "commits" / "2").write_bytes(b"")
    assert checkpoint.last_whole_batch() == 1
    (checkpoint.folder / "offsets" / "0").write_bytes(b"v1")
    assert checkpoint.last_whole_batch() == 1
    assert [file.name for file in checkpoint.broken_files()] == ["0", "2"]


def test_a_repair_ends_the_decided_part_and_plans_what_was_running_again(checkpoint):
    (checkpoint.folder / "offsets" / "3").write_bytes(b"v1")
    rewrite(checkpoint, {0: 33, 1: 5}, {0: 40, 1: 9})
    (checkpoint.folder / "offsets" / "3").unlink()
    checkpoint.check()
    assert checkpoint.committed_offsets() == {0: 33, 1: 5}
    assert checkpoint.replayed_batch() == 5
    assert checkpoint.ranges(5) == {0: OffsetRange(0, 33, 40), 1: OffsetRange(0, 5, 9)}
