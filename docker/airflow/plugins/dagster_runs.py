"""Runs of a Dagster job, through its web server's GraphQL: find, launch, look, cancel. Knows nothing of Airflow."""

from dataclasses import dataclass

import httpx

TIMEOUT_S = 30
UNDER_WAY = ("NOT_STARTED", "QUEUED", "STARTING", "STARTED", "MANAGED")
FINISHED = ("SUCCESS", "FAILURE", "CANCELED")

_REPOSITORIES = "{repositoriesOrError {... on RepositoryConnection {nodes {name location {name} jobs {name}}}}}"
_FIND = """query ($filter: RunsFilter!) {runsOrError(filter: $filter, limit: 20) {
  __typename
  ... on Runs {results {runId status}}
  ... on Error {message}
}}"""
_LAUNCH = """mutation ($params: ExecutionParams!) {launchRun(executionParams: $params) {
  __typename
  ... on LaunchRunSuccess {run {runId}}
  ... on Error {message}
}}"""
_STATUS = """query ($id: ID!) {runOrError(runId: $id) {
  ... on Run {status}
  ... on Error {message}
}}"""
_FAILURES = """query ($id: ID!) {logsForRun(runId: $id) {... on EventConnection {events {
  ... on ExecutionStepFailureEvent {stepKey error {message causes {message}}}
  ... on RunFailureEvent {error {message causes {message}}}
}}}}"""
_CANCEL = """mutation ($id: String!) {terminateRun(runId: $id) {
  __typename
  ... on TerminateRunFailure {message}
  ... on Error {message}
}}"""


class DagsterRefusedError(Exception):
    """Dagster answered, and the answer is no: asking again would change nothing."""


@dataclass(frozen=True)
class DagsterRuns:
    """``address`` is that of the web server. Raises httpx.HTTPError when it does not answer, DagsterRefusedError with
    what it said when it refuses. What a worker calls waits; what the triggerer calls is async."""

    address: str

    def find(self, job: str, tags: dict[str, str]) -> tuple[str, str] | None:
        """Id and status of the newest run of the job with these tags that succeeded or may still do so."""
        wanted = {
            "pipelineName": job,
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
            "statuses": [*UNDER_WAY, "SUCCESS"],
        }
        answer = self._ask(_FIND, filter=wanted)["runsOrError"]
        if answer["__typename"] != "Runs":
            raise DagsterRefusedError(f"Dagster did not say which runs of {job} there are: {answer.get('message')}")
        return next(((run["runId"], run["status"]) for run in answer["results"]), None)

    def launch(self, job: str, tags: dict[str, str]) -> str:
        """Start the job; returns the run's id. The tag dagster/partition says for which partition."""
        nodes = self._ask(_REPOSITORIES)["repositoriesOrError"].get("nodes", [])
        home = next((node for node in nodes if job in [known["name"] for known in node["jobs"]]), None)
        if home is None:
            raise DagsterRefusedError(f"Dagster at {self.address} knows no job {job}: is its code location loaded?")
        selector = {
            "repositoryLocationName": home["location"]["name"],
            "repositoryName": home["name"],
            "jobName": job,
        }
        metadata = {"tags": [{"key": key, "value": value} for key, value in tags.items()]}
        params = {"selector": selector, "runConfigData": {}, "executionMetadata": metadata}
        answer = self._ask(_LAUNCH, params=params)["launchRun"]
        if answer["__typename"] != "LaunchRunSuccess":
            raise DagsterRefusedError(f"Dagster refused to start {job} with {tags}: {answer.get('message')}")
        return answer["run"]["runId"]

    def reasons(self, run_id: str) -> str:
        """Why a run failed: each failed step with the innermost cause, which is what went wrong."""
        events = self._ask(_FAILURES, id=run_id)["logsForRun"].get("events", [])
        failed = [(event.get("stepKey", "run"), event["error"]) for event in events if event.get("error")]
        return "; ".join(f"{step}: {(error['causes'] or [error])[-1]['message'].strip()}" for step, error in failed)

    async def status(self, run_id: str) -> str:
        answer = (await self._ask_async(_STATUS, id=run_id))["runOrError"]
        if "status" not in answer:
            raise DagsterRefusedError(f"Dagster knows no run {run_id}: {answer.get('message')}")
        return answer["status"]

    async def cancel(self, run_id: str) -> None:
        answer = (await self._ask_async(_CANCEL, id=run_id))["terminateRun"]
        if answer["__typename"] != "TerminateRunSuccess":
            raise DagsterRefusedError(f"Dagster did not cancel the run {run_id}: {answer.get('message')}")

    def _ask(self, query: str, **variables: object) -> dict:
        return _data(httpx.post(self._url, json={"query": query, "variables": variables}, timeout=TIMEOUT_S))

    async def _ask_async(self, query: str, **variables: object) -> dict:
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
            return _data(await client.post(self._url, json={"query": query, "variables": variables}))

    @property
    def _url(self) -> str:
        return f"{self.address}/graphql"


def _data(response: httpx.Response) -> dict:
    """The answer's data. An error status (a web server that restarts) is an httpx.HTTPError like no answer at all."""
    response.raise_for_status()
    answer = response.json()
    if answer.get("errors"):
        raise DagsterRefusedError(f"Dagster did not understand: {answer['errors'][0]['message']}")
    return answer["data"]
