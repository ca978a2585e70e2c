import itertools
import subprocess
import sys
from datetime import UTC, datetime

import dagster as dg
import pytest

from fraud_assets.assets.monitoring import drift, parity_audit
from fraud_assets.definitions import build_defs
from fraud_assets.lake.offset_log import OffsetLog, TopicRange
from fraud_assets.partitions import AS_OF_TAG
from fraud_core.settings import Settings

pytestmark = pytest.mark.assets

ORDER = [
    "transactions",
    "labels",
    "training_set",
    "balanced_training_set",
    "tuned_model",
    "score_calibration",
    "decision_threshold",
    "evaluation",
    "registered_model",
    "production_model",
]


MONITORING = [
    "predictions",
    "live_quality",
    "dead_letters",
    "drift",
    "parity_audit",
    "model_comparison",
    "champion_quality",
    "promotion",
]


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_defs(Settings())


def test_every_asset_has_a_group_an_owner_kinds_and_a_description(definitions):
    specs = definitions.resolve_all_asset_specs()
    assert {spec.key.path[-1] for spec in specs} == {*ORDER, "merchant_risk", "exchange_rates", *MONITORING}
    for spec in specs:
        assert spec.group_name != "default"
        assert spec.owners
        assert spec.kinds
        assert len(spec.description) > 40


def test_each_asset_depends_on_the_one_before_it(definitions):
    graph = definitions.resolve_asset_graph()
    for before, after in itertools.pairwise(ORDER):
        assert dg.AssetKey(before) in graph.get_ancestor_asset_keys(dg.AssetKey(after))
    assert dg.AssetKey("exchange_rates") in graph.get(dg.AssetKey("training_set")).parent_keys
    assert graph.get(dg.AssetKey("merchant_risk")).parent_keys == {dg.AssetKey("transactions"), dg.AssetKey("labels")}


def test_production_model_is_the_last_step_so_that_the_mlflow_run_ends_after_everything_it_logs(definitions):
    steps = [node.name for node in definitions.resolve_job_def("daily_training").graph.nodes_in_topological_order]
    assert steps[-1] == "production_model"


def test_what_looks_at_the_models_in_use_is_no_part_of_training(definitions):
    training, monitoring = (
        {node.name for node in definitions.resolve_job_def(name).graph.nodes_in_topological_order}
        for name in ("daily_training", "monitoring")
    )
    assert training.isdisjoint(MONITORING)
    assert monitoring == {"transactions", "labels", *MONITORING}


def test_the_checks_that_guard_the_model_are_blocking(definitions):
    checks = {
        (spec.asset_key.path[-1], spec.name): spec.blocking
        for assets in definitions.assets
        for spec in assets.check_specs
    }
    watching = [("drift", name) for name in drift.CHECKS] + [("parity_audit", name) for name in parity_audit.CHECKS]
    for told_only in (
        ("evaluation", "passes_the_offline_gate"),
        ("exchange_rates", "rates_are_recent"),
        ("labels", "nothing_is_quarantined"),
        ("live_quality", "recall_holds"),
        *watching,
        ("model_comparison", "challenger_is_not_worse"),
        ("champion_quality", "champion_is_not_worse_than_the_one_before"),
    ):
        assert checks.pop(told_only) is False
    assert set(checks) == {
        ("training_set", "is_not_empty"),
        ("training_set", "both_classes"),
        ("training_set", "features_are_finite"),
        ("training_set", "periods_are_purged"),
        ("training_set", "labels_were_known"),
        ("balanced_training_set", "only_training_rows"),
        ("balanced_training_set", "both_classes"),
        ("balanced_training_set", "features_are_finite"),
        ("tuned_model", "folds_are_purged"),
        ("decision_threshold", "is_inside_0_and_1"),
        ("evaluation", "beats_chance"),
        ("registered_model", "is_what_was_evaluated"),
        ("registered_model", "reproduces"),
        ("model_comparison", "scores_are_complete"),
        ("model_comparison", "no_label_is_in_quarantine"),
    }
    assert all(checks.values())


def test_the_schedule_runs_at_03_00_utc_for_the_day_that_has_ended(definitions):
    schedule = definitions.resolve_schedule_def("daily_training_schedule")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 3 * * *", "UTC")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    [request] = _tick(definitions).run_requests
    assert request.partition_key == "2026-05-09"


def test_two_ticks_of_one_day_ask_for_the_same_run(definitions):
    first, second = _tick(definitions), _tick(definitions)
    assert first.run_requests[0].run_key == second.run_requests[0].run_key == "2026-05-09"


def test_with_airflow_as_the_scheduler_the_schedule_ships_stopped():
    schedule = build_defs(Settings(scheduler="airflow")).resolve_schedule_def("daily_training_schedule")
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED


def test_every_hour_a_run_publishes_merchant_risk_as_of_that_hour_once_there_are_transactions(tmp_path):
    settings = Settings(home=tmp_path)
    hour = datetime(2026, 5, 10, 14, tzinfo=UTC)
    assert _hourly(settings, hour).skip_message.startswith("no run has read transactions yet")
    with OffsetLog(settings.lake / "transactions").append(TopicRange({0: 0}, {0: 1})):
        pass
    [request] = _hourly(settings, hour).run_requests
    assert (request.run_key, request.partition_key) == ("2026-05-10T14:00:00+00:00", "2026-05-09")
    assert request.tags[AS_OF_TAG] == "2026-05-10T14:00:00+00:00"


def _hourly(settings: Settings, hour: datetime) -> dg.SensorResult:
    definitions = build_defs(settings)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance,
            scheduled_execution_time=hour,
            resources={"settings": settings},
            repository_def=definitions.get_repository_def(),
        )
        return definitions.resolve_schedule_def("merchant_risk_refresh_schedule").evaluate_tick(context)


def test_partitions_begin_where_the_settings_say():
    job = build_defs(Settings(partitions_start="2026-02-03")).resolve_job_def("daily_training")
    assert job.partitions_def.get_first_partition_key() == "2026-02-03"


def test_a_resource_can_be_replaced():
    other = object()
    assert build_defs(Settings(), {"mlflow": other}).resources["mlflow"] is other


def test_loading_the_code_location_imports_nothing_that_takes_seconds():
    heavy = {"mlflow", "xgboost", "sklearn", "numba", "matplotlib", "pandas"}
    command = f"import sys, fraud_assets.definitions; print({heavy!r} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "set()"


def _tick(definitions: dg.Definitions) -> dg.SensorResult:
    with dg.DagsterInstance.ephemeral() as instance:
        return definitions.resolve_schedule_def("daily_training_schedule").evaluate_tick(
            dg.build_schedule_context(instance, scheduled_execution_time=datetime(2026, 5, 10, 3, tzinfo=UTC))
        )
