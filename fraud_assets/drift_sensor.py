"""A sensor on the asset ``drift``: traffic that changed is a reason to train, once."""

import json
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from fraud_assets.assets.training.training_set import last_training
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS, iso_date_ms

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

LEAST_DAYS_BETWEEN_RUNS = 7


def drift_sensor(job: "UnresolvedAssetJobDefinition") -> dg.SensorDefinition:
    @dg.sensor(job=job, minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.RUNNING, name="drift_sensor")
    def sensor(context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]) -> dg.SensorResult:
        """Trains as of the newest judged day when the asset `drift` reports that features or the score drift.

            An alarm asks for one run. Another one follows only after the alarm has ended or a new champion has come,
        and not within seven days of the last (days of the data, whose clock may lag). A feature that became constant is
        a fault to repair, not to train on. The cursor holds which champion's alarm was answered and on which day.
        """
        state = {"answered": None, "asked_on": None, **json.loads(context.cursor or "{}")}

        def skip(reason: str) -> dg.SensorResult:
            return dg.SensorResult(skip_reason=reason, cursor=json.dumps(state))

        event = context.instance.get_latest_materialization_event(dg.AssetKey("drift"))
        if event is None or event.asset_materialization is None:
            return skip("drift has not been computed yet")
        seen: dict[str, Any] = {name: entry.value for name, entry in event.asset_materialization.metadata.items()}
        if seen.get("constant"):
            return skip(
                f"{', '.join(seen['constant'])} became constant: repair that first, training would learn the fault"
            )
        if not seen.get("drifting"):
            state["answered"] = None
            return skip("nothing drifts")
        if state["answered"] == seen["champion"]:
            return skip(f"the alarm of champion {seen['champion']} has been answered with a run")
        newest = date.fromisoformat(seen["newest_day"])
        last = state["asked_on"] and date.fromisoformat(state["asked_on"])
        if last and newest - last < timedelta(days=LEAST_DAYS_BETWEEN_RUNS):
            return skip(f"drift, but it asked for a run on {last}, less than {LEAST_DAYS_BETWEEN_RUNS} days ago")
        trained = last_training(context.instance)
        if trained and trained.as_of_ms >= iso_date_ms(seen["newest_day"]) + DAY_MS:
            return skip(f"drift, but there was a training as of the end of {newest} or later")
        if newest.isoformat() < settings.partitions_start:
            return skip("no day is complete yet")
        state |= {"answered": seen["champion"], "asked_on": newest.isoformat()}
        # The same alarm has the same key: if the cursor is lost, Dagster does not start its run again.
        run_key = f"drift-{seen['champion']}-{seen['alarm_since']}"
        request = dg.RunRequest(run_key, partition_key=newest.isoformat())
        return dg.SensorResult(run_requests=[request], cursor=json.dumps(state))

    return sensor
