"""Asks Dagster's web server through GraphQL: launches a partition of a job and follows it, step by step."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import requests

from fraud_io.errors import OperatorError

_FINISHED = ("SUCCESS", "FAILURE", "CANCELED")

_REPOSITORIES = "{repositoriesOrError {... on RepositoryConnection {nodes {name location {name} jobs {name}}}}}"
_LAUNCH = """mutation ($params: ExecutionParams!) {launchRun(executionParams: $params) {
  __typename
  ... on LaunchRunSuccess {run {runId}}
  ... on Error {message}
}}"""
_RUN = """query ($id: ID!) {runOrError(runId: $id) {... on Run {
  status
  stepStats {stepKey status startTime endTime}
}}}"""
_SENSOR_RUNS = """query ($job: String!, $sensor: String!, $after: Float!) {
  runsOrError(
    filter: {pipelineName: $job, createdAfter: $after, tags: [{key: "dagster/sensor_name", value: $sensor}]}
  ) {... on Runs {results {runId}}}
}"""
_FAILURES = """query ($id: ID!) {logsForRun(runId: $id) {... on EventConnection {events {
  ... on ExecutionStepFailureEvent {stepKey error {message causes {message}}}
  ... on RunFailureEvent {error {message causes {message}}}
}}}}"""


@dataclass(frozen=True)
class Step:
    """A finished step of a run: an asset, its state in Dagster's words, and how long it took in seconds."""

    name: str
    status: str
    seconds: float


class DagsterClient:
    """A GraphQL client of one web server. Raises OperatorError with Dagster's own words when something fails.

    timeout_s : how long one answer may keep silent.
    """

    def __init__(self, address: str, timeout_s: float = 30.0) -> None:
        self._address = address
        self._timeout_s = timeout_s

    def query(self, query: str, **variables: object) -> dict[str, Any]:
        """The answer's data. OperatorError when the server does not answer in time, or with an error."""
        try:
            response = requests.post(
                f"{self._address}/graphql", json={"query": query, "variables": variables}, timeout=self._timeout_s
            )
            answer = response.json()
        except (requests.RequestException, ValueError) as error:
            raise OperatorError(f"Dagster at {self._address} does not answer ({error}): see ./run status") from error
        if answer.get("errors"):
            raise OperatorError(f"Dagster at {self._address} did not understand: {answer['errors'][0]['message']}")
        data: dict[str, Any] = answer["data"]
        return data

    def launch(self, job: str, partition: str) -> str:
        """Start the job for a partition key (YYYY-MM-DD); returns the run id."""
        nodes = self.query(_REPOSITORIES)["repositoriesOrError"]["nodes"]
        home = next((node for node in nodes if job in [known["name"] for known in node["jobs"]]), None)
        if home is None:
            raise OperatorError(f"Dagster at {self._address} knows no job {job}: see ./run logs dagster-code")
        selector = {
            "repositoryLocationName": home["location"]["name"],
            "repositoryName": home["name"],
            "jobName": job,
        }
        tags = [{"key": "dagster/partition", "value": partition}]
        params = {"selector": selector, "runConfigData": {}, "executionMetadata": {"tags": tags}}
        launched = self.query(_LAUNCH, params=params)["launchRun"]
        if launched["__typename"] != "LaunchRunSuccess":
            raise OperatorError(f"Dagster refused to start {job} for {partition}: {launched.get('message')}")
        run_id: str = launched["run"]["runId"]
        return run_id

    def runs_of_sensor(self, job: str, sensor: str, after: float) -> list[str]:
        """Ids of the runs of a job that a sensor asked for since ``after`` (seconds since 1970), newest first."""
        found = self.query(_SENSOR_RUNS, job=job, sensor=sensor, after=after)["runsOrError"]
        return [run["runId"] for run in found["results"]]

    def follow(self, run_id: str, is_alive: Callable[[], None], poll_s: float = 0.5) -> Iterator[Step]:
        """Each step as it ends. Raises OperatorError with the reasons when the run fails.

        ``is_alive`` is called at every look and raises when waiting on makes no sense.
        """
        reported = set()
        while True:
            is_alive()
            run = self.query(_RUN, id=run_id)["runOrError"]
            for stats in sorted(run["stepStats"], key=lambda stats: stats["endTime"] or 0):
                if stats["endTime"] and stats["stepKey"] not in reported:
                    reported.add(stats["stepKey"])
                    yield Step(stats["stepKey"], stats["status"], stats["endTime"] - stats["startTime"])
            if run["status"] in _FINISHED:
                break
            time.sleep(poll_s)
        if run["status"] != "SUCCESS":
            raise OperatorError(f"the Dagster run {run_id} ended as {run['status']}: {self._reasons(run_id)}")

    def _reasons(self, run_id: str) -> str:
        events = self.query(_FAILURES, id=run_id)["logsForRun"]["events"]
        reasons = []
        for event in events:
            if error := event.get("error"):
                # The innermost cause is what went wrong; the outer ones say where Dagster noticed.
                cause = (error["causes"] or [error])[-1]["message"].strip()
                reasons.append(f"{event.get('stepKey', 'run')}: {cause}")
        return "; ".join(reasons) or f"see {self._address}/runs/{run_id}"
