"""A Dagster code location with the real daily schedule and, under the real job's name, a job that trains nothing.

What a run does is said by a file named as its partition in the folder $BEHAVIOUR: ``fail``, ``wait`` (until cancelled)
or, with no file, succeed.
"""

import os
import time
from pathlib import Path

import dagster as dg

from fraud_assets.jobs import daily_schedule
from fraud_core.settings import Settings

SETTINGS = Settings()
PARTITIONS = dg.DailyPartitionsDefinition(SETTINGS.partitions_start)


@dg.asset(partitions_def=PARTITIONS)
def model(context: dg.AssetExecutionContext) -> None:
    file = Path(os.environ["BEHAVIOUR"]) / context.partition_key
    behaviour = file.read_text() if file.exists() else "succeed"
    if behaviour == "fail":
        raise dg.Failure("the model is worse than a coin")
    while behaviour == "wait":
        time.sleep(0.1)


JOB = dg.define_asset_job(
    "daily_training", selection=[model], partitions_def=PARTITIONS, executor_def=dg.in_process_executor
)
defs = dg.Definitions(assets=[model], jobs=[JOB], schedules=[daily_schedule(JOB, SETTINGS)])
