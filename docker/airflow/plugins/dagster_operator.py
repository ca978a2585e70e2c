"""The operator that has Dagster run a job for a day: launches it, lets the triggerer wait, judges how it ended."""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.xcom import XCom
from dagster_runs import UNDER_WAY, DagsterRefusedError, DagsterRuns
from dagster_trigger import DagsterRunTrigger

POLL_S = 10.0
LINK_KEY = "dagster_run_url"


class DagsterRunLink(BaseOperatorLink):
    """The button that leads from the task to its Dagster run."""

    name = "Dagster run"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        return XCom.get_value(ti_key=ti_key, key=LINK_KEY) or ""


class DagsterDailyRunOperator(BaseOperator):
    """Runs a daily partitioned Dagster job for the day that ended last before the DAG run.

    The run carries the tags Dagster's own schedule gives it. So each finds what the other has started, and a second
    trigger for the same day waits for the first one's run instead of training again; one that failed or was cancelled
    does not count. The task fails, without a retry, when the run fails; only a Dagster that does not answer is a reason
    to try again.

    address : of the web server, as the worker and the triggerer reach it
    public_address : the same as a browser reaches it
    hour : UTC; when the schedule named ``schedule_name`` starts the job
    """

    operator_extra_links = (DagsterRunLink(),)

    def __init__(
        self, *, job: str, schedule_name: str, hour: int, address: str, public_address: str, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.job, self.schedule_name, self.hour = job, schedule_name, hour
        self.address, self.public_address = address, public_address

    def execute(self, context: dict[str, Any]) -> None:
        run = context["dag_run"]
        tags = schedule_tags(self.schedule_name, self.hour, run.logical_date or run.run_after)
        runs = DagsterRuns(self.address)
        try:
            found = runs.find(self.job, tags)
            run_id, status = found or (runs.launch(self.job, tags), UNDER_WAY[0])
        except DagsterRefusedError as error:
            raise AirflowFailException(str(error)) from error
        self.log.info("%s the Dagster run %s: %s", "Found" if found else "Launched", run_id, self._url(run_id))
        context["ti"].xcom_push(key=LINK_KEY, value=self._url(run_id))
        if status in UNDER_WAY:
            self.defer(trigger=DagsterRunTrigger(self.address, run_id, POLL_S), method_name="judge")

    def judge(self, context: dict[str, Any], event: dict[str, str]) -> None:
        """Called by Airflow when the trigger has fired."""
        if event["status"] == "SUCCESS":
            return
        why = event["message"] or DagsterRuns(self.address).reasons(event["run_id"]) or "Dagster gives no reason"
        raise AirflowFailException(f"The Dagster run {self._url(event['run_id'])} is {event['status']}: {why}")

    def _url(self, run_id: str) -> str:
        return f"{self.public_address}/runs/{run_id}"


def schedule_tags(schedule_name: str, hour: int, moment: datetime) -> dict[str, str]:
    """What Dagster's scheduler writes on the run it starts on the day of ``moment``, at ``hour`` UTC."""
    scheduled = moment.astimezone(UTC).replace(hour=hour, minute=0, second=0, microsecond=0)
    day = (scheduled - timedelta(days=1)).date().isoformat()
    return {
        "dagster/partition": day,
        "dagster/run_key": day,
        "dagster/schedule_name": schedule_name,
        ".dagster/scheduled_execution_time": scheduled.isoformat(),
    }
