"""What Dagster knows, as Prometheus metrics: each asset's last materialization, every check, every job.

Queries the web server through GraphQL at each scrape, so this process loads no asset's code and no Dagster.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from fraud_io.dagster_client import DagsterClient
from fraud_io.errors import OperatorError

_TIMEOUT_S = 4.0  # together with the other collectors' less than Prometheus waits for a scrape
_SECONDS_PER_MS = 1000

INFO = {
    "registered_model": ("version", "stage"),
    "production_model": ("champion", "candidate", "candidate_stage"),
    "promotion": ("champion", "challenger"),
}
"""Texts of an asset's metadata that become labels of ``fraud_<asset>_info``: few values each, and none for a person.

Numbers need no table: each of an asset's last materialization is a gauge ``fraud_<asset>_<entry>``, and a dictionary
of numbers one with a label ``key``.
"""

_QUERY = """{
  assetNodes {
    assetKey {path}
    assetMaterializations(limit: 1) {
      timestamp
      metadataEntries {
        label
        ... on FloatMetadataEntry {floatValue}
        ... on IntMetadataEntry {intRepr}
        ... on BoolMetadataEntry {boolValue}
        ... on TextMetadataEntry {text}
        ... on JsonMetadataEntry {jsonString}
      }
    }
    assetChecksOrError {... on AssetChecks {checks {
      name
      blocking
      executionForLatestMaterialization {evaluation {success}}
    }}}
  }
  repositoriesOrError {... on RepositoryConnection {nodes {jobs {name}}}}
}"""

_RUNS = """{job}_{status}: runsOrError(filter: {{pipelineName: "{job}", statuses: [{status}]}}, limit: 1) {{
  ... on Runs {{count results {{endTime}}}}
}}"""
_STATUSES = ("SUCCESS", "FAILURE", "CANCELED", "STARTED", "QUEUED")


class DagsterCollector(Collector):
    """Metrics of the Dagster whose web server is at ``address``.

    A web server that does not answer gives fraud_dagster_up 0 and nothing else: old figures would look like new ones.
    """

    def __init__(self, address: str, timeout_s: float = _TIMEOUT_S) -> None:
        self._dagster = DagsterClient(address, timeout_s)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        try:
            metrics = [*self._ask()]
        except (OperatorError, ValueError):
            metrics = []
        yield GaugeMetricFamily(
            "fraud_dagster_up",
            "1 when Dagster's web server answered and has the assets",
            value=float(bool(metrics)),
        )
        yield from metrics

    def _ask(self) -> Iterator[GaugeMetricFamily]:
        answer = self._dagster.query(_QUERY)
        repositories = answer["repositoriesOrError"].get("nodes")
        if not repositories:
            raise ValueError("no code location is loaded")
        jobs = [job["name"] for repository in repositories for job in repository["jobs"]]
        # Dagster makes this job for assets that are materialized by hand.
        jobs = [name for name in jobs if name != "__ASSET_JOB"]
        yield from asset_metrics(answer["assetNodes"])
        yield from check_metrics(answer["assetNodes"])
        runs = " ".join(_RUNS.format(job=job, status=status) for job in jobs for status in _STATUSES)
        if runs:
            yield from job_metrics(self._dagster.query(f"{{{runs}}}"), jobs)


def asset_metrics(nodes: Iterable[dict]) -> Iterator[GaugeMetricFamily]:
    """A gauge for each number of the last materializations, and when they were. Never materialized: nothing."""
    made = GaugeMetricFamily(
        "fraud_asset_last_materialization_time_seconds", "when the asset was last made, Unix time", labels=["asset"]
    )
    for node in nodes:
        asset = node["assetKey"]["path"][-1]
        for event in node["assetMaterializations"]:
            made.add_metric([asset], int(event["timestamp"]) / _SECONDS_PER_MS)
            entries = event["metadataEntries"]
            for entry in entries:
                what = f"{entry['label']} of the last materialization of the asset {asset}"
                values = _numbers(entry)
                if values:
                    labels = [] if None in values else ["key"]
                    gauge = GaugeMetricFamily(_metric_name(asset, entry["label"]), what, labels=labels)
                    for key, value in values.items():
                        gauge.add_metric([] if key is None else [key], value)
                    yield gauge
            named = INFO.get(asset, ())
            texts = {entry["label"]: entry.get("text") or "" for entry in entries if entry["label"] in named}
            if texts:
                info = GaugeMetricFamily(
                    _metric_name(asset, "info"), f"1, with texts of the last {asset} as labels", labels=list(texts)
                )
                info.add_metric(list(texts.values()), 1)
                yield info
    yield made


def check_metrics(nodes: Iterable[dict]) -> Iterator[GaugeMetricFamily]:
    passed = GaugeMetricFamily(
        "fraud_asset_check_passed",
        "1 when the check of the asset's last materialization passed; a blocking one stops what is downstream",
        labels=["asset", "check", "blocking"],
    )
    for node in nodes:
        for check in node["assetChecksOrError"].get("checks", []):
            evaluation = (check["executionForLatestMaterialization"] or {}).get("evaluation")
            if evaluation:
                labels = [node["assetKey"]["path"][-1], check["name"], str(check["blocking"]).lower()]
                passed.add_metric(labels, float(evaluation["success"]))
    yield passed


def job_metrics(answer: Mapping[str, dict], jobs: Sequence[str]) -> Iterator[GaugeMetricFamily]:
    """``answer``: for <job>_<status> the count of such runs and the newest of them.

    The label is not ``job``: that is what Prometheus calls the endpoint it asked.
    """
    count = GaugeMetricFamily(
        "fraud_job_runs", "runs of the job that Dagster has stored", labels=["dagster_job", "status"]
    )
    ended = GaugeMetricFamily(
        "fraud_job_last_end_time_seconds",
        "when a run last ended with that status, Unix time",
        labels=["dagster_job", "status"],
    )
    for job in jobs:
        for status in _STATUSES:
            runs = answer[f"{job}_{status}"]
            count.add_metric([job, status.lower()], runs["count"])
            for run in runs["results"]:
                if run["endTime"]:
                    ended.add_metric([job, status.lower()], run["endTime"])
    yield count
    yield ended


def _numbers(entry: dict) -> dict[str | None, float]:
    """The number of a metadata entry, under None, or those of a dictionary of numbers under their keys."""
    for kind in ("floatValue", "intRepr", "boolValue"):
        if entry.get(kind) is not None:
            return {None: float(entry[kind])}
    values = json.loads(entry.get("jsonString") or "null")
    if isinstance(values, dict) and all(isinstance(value, int | float) for value in values.values()):
        return {key: float(value) for key, value in values.items()}
    return {}


def _metric_name(asset: str, entry: str) -> str:
    return "fraud_" + re.sub(r"\W", "_", f"{asset}_{entry.removeprefix('dagster/')}")
