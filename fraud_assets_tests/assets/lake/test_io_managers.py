import dagster as dg
import polars as pl
import pytest
import xgboost as xgb

from fraud_assets.lake.io_managers import ModelIOManager, ParquetIOManager, RecordIOManager
from fraud_core.features.table import FEATURES
from fraud_core.model.fraud_model import FraudModel, ModelCard
from fraud_core.model.stored import StoredModel
from fraud_core.model.threshold import Threshold

pytestmark = pytest.mark.assets

DAILY = dg.DailyPartitionsDefinition("2026-01-01")
FRAME = pl.DataFrame(
    {"transaction_id": ["a", None], "amount": [1.5, 2.25]}, {"transaction_id": pl.String, "amount": pl.Float32}
)
THRESHOLD = Threshold(0.3, 0.7, 0.5, 0.8, (0.2, 0.4))


def stored_model() -> StoredModel:
    rows = xgb.DMatrix([[float(i + j) for j in range(len(FEATURES))] for i in range(8)], [0, 1] * 4)
    return StoredModel.of(FraudModel(xgb.train({"max_depth": 2}, rows, 3), ModelCard(0.5, 0.01, (0, 10))))


@pytest.mark.parametrize(
    ("manager", "value"),
    [(ParquetIOManager, FRAME), (ModelIOManager, stored_model()), (RecordIOManager, THRESHOLD)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_value_comes_back_as_it_was_also_after_it_was_written_twice(tmp_path, manager, value):
    io_manager, received = manager(lake=str(tmp_path)), []

    @dg.asset(partitions_def=DAILY)
    def made():
        return value

    def used(made):
        received.append(made)
        return made

    used.__annotations__["made"] = type(value)
    for _ in range(2):
        result = dg.materialize(
            [made, dg.asset(used, partitions_def=DAILY)],
            partition_key="2026-01-02",
            resources={"io_manager": io_manager},
            selection=["made", "used"],
            raise_on_error=True,
        )
        assert result.success
    assert [type(found) for found in received] == [type(value)] * 2
    assert all(found.equals(value) if isinstance(value, pl.DataFrame) else found == value for found in received)
    assert not list((tmp_path / "made").glob(".*")), "temporary files are left"


def test_a_model_is_kept_in_the_native_format_with_its_card_beside_it(tmp_path):
    model = stored_model()
    ModelIOManager(lake=str(tmp_path)).write(model, tmp_path / "2026-01-02")
    booster = xgb.Booster(model_file=tmp_path / "2026-01-02" / "model.ubj")
    assert bytes(booster.save_raw("ubj")) == model.ubj
    assert '"threshold": 0.5' in (tmp_path / "2026-01-02" / "card.json").read_text()


def test_a_day_that_was_not_materialized_is_named_with_what_to_do(tmp_path):
    @dg.asset(partitions_def=DAILY)
    def tuned_model():
        return stored_model()

    def used(tuned_model: StoredModel):
        return None

    result = dg.materialize(
        [tuned_model, dg.asset(used, partitions_def=DAILY)],
        partition_key="2026-01-02",
        resources={"io_manager": ModelIOManager(lake=str(tmp_path))},
        selection=["used"],
        raise_on_error=False,
    )
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert "materialize tuned_model of this day first" in failure.step_failure_data.error.cause.message
