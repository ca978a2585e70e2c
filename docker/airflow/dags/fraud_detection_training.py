"""The daily training, at 03:00 UTC, when Airflow owns the clock (FRAUD_SCHEDULER=airflow). Dagster does the work.

With any other owner the DAG has no time of its own and starts by hand only.
"""

import os
from datetime import timedelta

import pendulum
from airflow.sdk import DAG
from airflow.timetables.trigger import CronTriggerTimetable
from dagster_operator import DagsterDailyRunOperator

HOUR_UTC = 3
IS_OWNER = os.environ.get("FRAUD_SCHEDULER", "dagster") == "airflow"
DAGSTER = os.environ.get("FRAUD_DAGSTER_URL", "http://127.0.0.1:3000")

with DAG(
    "fraud_detection_training",
    description="Has Dagster train, judge and register the fraud model as of the end of the day before.",
    schedule=CronTriggerTimetable(f"0 {HOUR_UTC} * * *", timezone="UTC") if IS_OWNER else None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    is_paused_upon_creation=False,
    # For a Dagster that does not answer; a run that failed is not repeated.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    tags=["fraud"],
):
    DagsterDailyRunOperator(
        task_id="daily_training",
        job="daily_training",
        schedule_name="daily_training_schedule",
        hour=HOUR_UTC,
        address=DAGSTER,
        public_address=os.environ.get("FRAUD_DAGSTER_PUBLIC_URL", DAGSTER),
    )
