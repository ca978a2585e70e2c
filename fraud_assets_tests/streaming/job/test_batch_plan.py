"""Plans survive the process that wrote them."""

import pytest

from fraud_io.errors import OperatorError
from streaming.job.batch_plan import BatchPlan, PlanLog

pytestmark = pytest.mark.streaming


def test_the_last_plan_comes_back(tmp_path):
    assert PlanLog(tmp_path / "plans").last() is None
    PlanLog(tmp_path / "plans").write(9, BatchPlan("1", None, True, ("a.parquet", "b.parquet"), 300_000))
    PlanLog(tmp_path / "plans").write(10, BatchPlan("2", "3", False, ("c.parquet",), 1000))
    assert PlanLog(tmp_path / "plans").last() == BatchPlan("2", "3", False, ("c.parquet",), 1000)


def test_a_plan_written_half_is_none(tmp_path):
    plans = PlanLog(tmp_path)
    plans.write(1, BatchPlan("1"))
    (tmp_path / "new").write_text('{"champion": "2"')
    assert PlanLog(tmp_path).last() == BatchPlan("1")


def test_old_plans_are_pruned(tmp_path):
    for batch_id in range(100):
        PlanLog(tmp_path).write(batch_id, BatchPlan(str(batch_id)))
    assert PlanLog(tmp_path).last() == BatchPlan("99")
    assert len(list(tmp_path.iterdir())) == 10


def test_a_plan_cut_at_any_byte_is_refused_by_its_name(tmp_path):
    PlanLog(tmp_path).write(1, BatchPlan("1", None, True, ("a.parquet",), 300_000))
    whole = (tmp_path / "1.json").read_bytes()
    for size in range(len(whole)):
        (tmp_path / "1.json").write_bytes(whole[:size])
        with pytest.raises(OperatorError, match=r"1\.json is corrupt"):
            PlanLog(tmp_path).last()
