"""What is read from Spark's checkpoint folder, and the lock beside it."""

import os
import subprocess
import sys

import pytest

from fraud_assets_tests.streaming.parts import SparkCheckpoint
from fraud_io.errors import OperatorError
from streaming.job.batch_plan import BatchPlan, PlanLog
from streaming.job.start_check import FORMAT, check_currency, check_format, check_partitions
from streaming.state.checkpoint import Checkpoint, OffsetRange

pytestmark = pytest.mark.streaming


@pytest.fixture
def spark(tmp_path):
    return SparkCheckpoint(tmp_path / "checkpoint")


@pytest.fixture
def checkpoint(spark):
    return Checkpoint(spark.folder, "transactions")


def test_a_micro_batch_begins_where_the_one_before_ended(spark, checkpoint):
    spark.plan(0, {0: 10, 1: 0})
    spark.plan(1, {0: 10, 1: 7})
    assert checkpoint.ranges(0) == {0: OffsetRange(0, 0, 10)}
    assert checkpoint.ranges(1) == {1: OffsetRange(0, 0, 7)}


def test_a_partition_added_later_begins_at_zero(spark, checkpoint):
    spark.plan(0, {0: 10, 1: 5})
    spark.plan(1, {0: 10, 1: 5, 2: 3})
    assert checkpoint.ranges(1) == {2: OffsetRange(0, 0, 3)}


def test_a_planned_micro_batch_without_a_commit_is_replayed(spark, checkpoint):
    assert checkpoint.replayed_batch() is None
    assert checkpoint.committed_offsets() == {}
    spark.plan(0, {0: 10, 1: 5})
    assert checkpoint.replayed_batch() == 0
    spark.commit(0)
    assert checkpoint.replayed_batch() is None
    assert checkpoint.committed_offsets() == {0: 10, 1: 5}
    for batch_id in range(1, 11):
        spark.plan(batch_id, {0: 10 + batch_id, 1: 5})
    assert checkpoint.replayed_batch() == 10


def test_a_checkpoint_of_another_topic_is_not_a_corrupt_one(spark, checkpoint):
    spark.plan(0, {0: 10, 1: 0})
    spark.commit(0)
    checkpoint.check()
    for refuses in (Checkpoint(spark.folder, "bank.payments").check, Checkpoint(spark.folder, "b").check_identity):
        with pytest.raises(OperatorError, match=r"that of the topic transactions, .* FRAUD_TOPIC_TRANSACTIONS"):
            refuses()


def test_a_second_job_on_one_checkpoint_is_refused_and_told_which_process_holds_it(checkpoint):
    second_job = f"""
import pathlib, streaming.state.checkpoint as c
with c.Checkpoint(pathlib.Path({str(checkpoint.folder)!r}), "transactions").locked():
    pass
"""
    with checkpoint.locked():
        refused = subprocess.run([sys.executable, "-c", second_job], capture_output=True, text=True)
        assert f"OperatorError: another streaming job (process {os.getpid()})" in refused.stderr
    subprocess.run([sys.executable, "-c", second_job], check=True)


def test_a_new_checkpoint_gets_the_present_format_and_keeps_its_plans(spark, checkpoint, tmp_path):
    new = Checkpoint(tmp_path / "new", "transactions")
    check_format(new)
    PlanLog(new.folder / "plans").write(0, BatchPlan("1"))
    SparkCheckpoint(new.folder).plan(0, {0: 10})
    check_format(new)
    assert PlanLog(new.folder / "plans").last() == BatchPlan("1")


def test_an_older_checkpoint_is_taken_over_between_two_micro_batches_only(spark, checkpoint):
    plans = checkpoint.folder / "plans"
    plans.mkdir()
    (plans / "0.json").write_text('{"champion": "1", "challenger": null, "merchant_risk_tables": []}')
    spark.plan(0, {0: 10, 1: 5})
    with pytest.raises(OperatorError, match=r"has format 1, this version writes .* start the version that wrote it"):
        check_format(checkpoint)
    spark.commit(0)
    check_format(checkpoint)
    assert PlanLog(plans).last() is None
    assert checkpoint.committed_offsets() == {0: 10, 1: 5}
    spark.plan(1, {0: 11, 1: 5})
    check_format(checkpoint)


def test_a_checkpoint_of_a_newer_version_is_refused(spark, checkpoint):
    (checkpoint.folder / "stream.json").write_text(f'{{"format": {FORMAT + 1}}}')
    with pytest.raises(OperatorError, match=f"has format {FORMAT + 1}, .* start the newer version"):
        check_format(checkpoint)


def test_a_checkpoint_goes_on_with_the_partitions_it_began_with(spark, checkpoint):
    for mine in (None, frozenset({0, 1})):
        check_partitions(checkpoint, mine)
    with pytest.raises(OperatorError, match="of the partitions 0,1, but FRAUD_STREAM_PARTITIONS is 1,2"):
        check_partitions(checkpoint, frozenset({1, 2}))


def test_the_histories_of_a_checkpoint_stay_in_the_currency_they_began_in(spark, checkpoint):
    check_format(checkpoint)
    for _ in range(2):
        check_currency(checkpoint, "EUR")
    with pytest.raises(OperatorError, match="are in EUR, and FRAUD_CURRENCY is USD: set FRAUD_CURRENCY=EUR, or begin"):
        check_currency(checkpoint, "USD")
    check_format(checkpoint)
    check_currency(checkpoint, "EUR")
