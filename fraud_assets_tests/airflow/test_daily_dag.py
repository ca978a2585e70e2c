"""The daily DAG on real Airflow against a real Dagster: launches, waits, fails, cancels, and trains a day once."""

import subprocess
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import ScheduleInstigatorData

from fraud_assets_tests.airflow.conftest import DAG, Airflow, Dagster, wait_for

pytestmark = pytest.mark.e2e

NOW = datetime.now(UTC)
LAST_TICK = NOW.replace(hour=3, minute=0, second=0, microsecond=0) - timedelta(days=NOW.hour < 3)


def tick(days_ago: int) -> str:
    return (LAST_TICK - timedelta(days=days_ago)).isoformat()


def day(days_ago: int) -> str:
    """The partition trained at that tick: the day before it."""
    return (LAST_TICK - timedelta(days=days_ago + 1)).date().isoformat()


def test_a_success_a_failure_and_a_kill_mean_the_same_on_both_sides(dagster: Dagster, airflow: Airflow):
    dagster.behave(day(11), "fail")
    dagster.behave(day(12), "wait")
    succeeds, fails, is_killed = (airflow.trigger(tick(days)) for days in (10, 11, 12))

    # Deferred: it waits in the triggerer and holds no worker slot. Then a person marks it failed.
    wait_for(lambda: airflow.task(is_killed)["state"] == "deferred")
    wait_for(lambda: "Waiting for the Dagster run" in airflow.log(is_killed))
    [waiting] = wait_for(lambda: [run for run in dagster.runs(day(12)) if run["status"] == "STARTED"])
    assert airflow.link(is_killed) == f"https://dagster.example/runs/{waiting['runId']}"
    airflow.mark_failed(is_killed)
    wait_for(lambda: dagster.runs(day(12))[0]["status"] == "CANCELED")

    wait_for(lambda: airflow.task(fails)["state"] == "failed")
    assert [run["status"] for run in dagster.runs(day(11))] == ["FAILURE"]
    assert "the model is worse than a coin" in airflow.log(fails)

    wait_for(lambda: airflow.task(succeeds)["state"] == "success")
    assert [run["status"] for run in dagster.runs(day(10))] == ["SUCCESS"]


def test_a_day_is_trained_once_whoever_else_asks_for_it(dagster: Dagster, airflow: Airflow):
    first = airflow.trigger(tick(0))
    wait_for(lambda: airflow.task(first)["state"] == "success")
    [of_airflow] = dagster.runs(day(0))

    # Dagster's schedule is switched on too, as if a minute before its last tick: it has that one to make up for.
    switch_schedule_on(dagster, LAST_TICK - timedelta(minutes=1))
    with dagster.daemon():
        ticks = wait_for(lambda: schedule_ticks(dagster))
    assert ticks == {tick(0): [of_airflow["runId"]]}

    later_that_day = airflow.trigger((LAST_TICK + timedelta(hours=1)).isoformat())
    wait_for(lambda: airflow.task(later_that_day)["state"] == "success")
    # Airflow writes the link a moment after the state.
    assert wait_for(lambda: airflow.link(later_that_day)) == airflow.link(first)
    assert [run["runId"] for run in dagster.runs(day(0))] == [of_airflow["runId"]]


@pytest.mark.parametrize(("owner", "summary"), [("airflow", "0 3 * * *"), ("dagster", None)])
def test_only_the_owner_of_the_clock_has_a_timetable(airflow_bin, airflow_environment, owner, summary, tmp_path):
    code = (
        "from airflow.dag_processing.dagbag import DagBag\n"
        f"bag = DagBag({airflow_environment['AIRFLOW__CORE__DAGS_FOLDER']!r}, bundle_name='dags-folder')\n"
        f"timetable = bag.dags[{DAG!r}].timetable\n"
        "print('SUMMARY', timetable.summary if timetable.can_be_scheduled else None)"
    )
    environment = airflow_environment | {"FRAUD_SCHEDULER": owner, "AIRFLOW_HOME": str(tmp_path)}
    shown = subprocess.run(
        [airflow_bin / "python", "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    assert f"SUMMARY {summary}" in shown.stdout, shown.stdout + shown.stderr


def switch_schedule_on(dagster: Dagster, since: datetime) -> None:
    selector = {
        "repositoryLocationName": "fraud_assets",
        "repositoryName": "__repository__",
        "scheduleName": "daily_training_schedule",
    }
    start = "mutation ($s: ScheduleSelector!) {startSchedule(scheduleSelector: $s) {__typename}}"
    assert dagster.ask(start, s=selector)["startSchedule"]["__typename"] == "ScheduleStateResult"
    with dg.DagsterInstance.from_config(dagster.environment["DAGSTER_HOME"]) as instance:
        [state] = instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE)
        data = ScheduleInstigatorData(state.instigator_data.cron_schedule, since.timestamp())
        instance.update_instigator_state(state.with_data(data))


def schedule_ticks(dagster: Dagster) -> dict[str, list[str]]:
    """Run ids of each tick of Dagster's schedule that is done, by the moment it is for."""
    with dg.DagsterInstance.from_config(dagster.environment["DAGSTER_HOME"]) as instance:
        [state] = instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE)
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id)
    return {
        datetime.fromtimestamp(tick.timestamp, UTC).isoformat(): list(tick.run_ids)
        for tick in ticks
        if tick.status.value == "SUCCESS"
    }
