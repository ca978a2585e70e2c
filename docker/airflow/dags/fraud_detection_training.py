"""The daily training, at 03:00 UTC, when Airflow owns the clock (FRAUD_SCHEDULER=airflow). Dagster does the work.

With any other owner the DAG has no time of its own and starts by hand only.
"""

import os
from datetime import timedelta

from airflow.sdk import DAG
from airflow.timetables.trigger import CronTriggerTimetable
from dagster_operator import DagsterDailyRunOperator

HOUR_UTC = 3
IS_OWNER = os.environ.get("FRAUD_SCHEDULER", "dagster") == "airflow"
# A new installation waits for the next 03:00: it has nothing to train on. Later, a day that was missed is made up for.
DAILY = CronTriggerTimetable(f"0 {HOUR_UTC} * * *", timezone="UTC", run_immediately=timedelta(0))
DAGSTER = os.environ.get("FRAUD_DAGSTER_URL", "http://127.0.0.1:3000")

with DAG(
    "fraud_detection_training",
    description="Has Dagster train, judge and register the fraud model as of the end of the day before.",
    schedule=DAILY if IS_OWNER else None,
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
