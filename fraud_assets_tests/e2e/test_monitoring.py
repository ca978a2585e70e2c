"""What a real Prometheus holds after it scraped a real run with the project's configuration, rules and dashboards."""

import json
import math
import re
import time
from datetime import UTC, datetime, timedelta

import pytest

from fraud_assets_tests.e2e.conftest import Stack
from fraud_assets_tests.e2e.prometheus import ROOT
from fraud_core.topics import FEEDBACK, TRANSACTIONS
from fraud_io.dagster_client import DagsterClient
from fraud_stack.exporter.dagster_metrics import INFO

pytestmark = pytest.mark.e2e

DASHBOARDS = sorted((ROOT / "docker" / "grafana" / "dashboards").glob("*.json"))
STEP_S = 2


@pytest.fixture(scope="module")
def watched(stack: Stack) -> Stack:
    """The stack after its hourly look at the models in use, which a demo does not wait for."""
    dagster = DagsterClient(stack.settings.dagster_address)
    run = dagster.launch("monitoring", (datetime.now(UTC) - timedelta(days=1)).date().isoformat())
    assert {step.status for step in dagster.follow(run, lambda: None)} == {"SUCCESS"}
    stack.prometheus.catch_up()
    return stack


def panels() -> list:
    return [
        pytest.param(panel, id=f"{file.stem}: {panel['title']}")
        for file in DASHBOARDS
        for panel in json.loads(file.read_text())["panels"]
    ]


def one(stack: Stack, expression: str) -> float:
    (series,) = stack.prometheus.query(expression)
    return float(series["value"][1])


@pytest.mark.parametrize("panel", panels())
def test_every_panel_shows_figures_of_the_run(watched: Stack, panel: dict):
    for target in panel["targets"]:
        found = watched.prometheus.query_range(target["expr"], watched.began, time.time(), STEP_S)
        assert found, target["expr"]
        for series in found:
            assert any(math.isfinite(float(value)) for _, value in series["values"]), target["expr"]
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= set(series["metric"])


def test_the_books_of_prometheus_are_those_of_the_ledger(stack: Stack):
    ledger = stack.summary["ledger"]
    written = "sum(fraud_topic_records_total{role='%s'})"
    assert one(stack, written % "transactions") == ledger["produced"]
    assert one(stack, written % "feedback") == len(stack.read(FEEDBACK))
    assert one(stack, "sum(fraud_stream_predictions_total)") == ledger["predicted"]
    assert one(stack, "fraud:undecided:sum") == ledger["lost"] == 0


def test_the_figures_of_the_assets_are_those_of_the_model_and_its_run(stack: Stack):
    assert one(stack, "fraud_evaluation_test_recall") == stack.summary["model"]["recall"]
    assert one(stack, "fraud_evaluation_test_average_precision") == stack.summary["model"]["average_precision"]
    version = stack.summary["model"]["version"]
    assert one(stack, f"fraud_production_model_info{{champion='{version}'}}") == 1
    assert one(stack, f"fraud_stream_model{{role='champion', version='{version}'}}") == 1
    assert one(stack, "fraud_job_runs{dagster_job='daily_training', status='success'}") == 1
    assert one(stack, "min(fraud_asset_check_passed)") == 1


def test_every_rule_can_be_evaluated_and_a_sound_run_alerts_nobody(watched: Stack):
    rules = watched.prometheus.rules()
    assert {rule["health"] for rule in rules} == {"ok"}
    assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == []


def test_no_log_names_a_card_a_device_or_a_transaction_and_the_stream_names_its_batches(stack: Stack):
    sent = [json.loads(record.value()) for record in stack.read(TRANSACTIONS)]
    secret = {row.get(field) for row in sent for field in ("transaction_id", "user_id", "device_id")} - {None}
    assert len(secret) > 60_000
    home = stack.settings.home
    logs = [*(home / "logs").iterdir(), *(home / "dagster").rglob("*.out"), *(home / "dagster").rglob("*.err")]
    assert {"stream.log", "dagster-code.log", "exporter.log"} <= {log.name for log in logs}
    for log in logs:
        assert not secret.intersection(re.findall(r"[\w-]+", log.read_text(errors="replace"))), log
    batches = re.findall(
        r"INFO streaming.job.micro_batch batch=(\d+) records=", (home / "logs" / "stream.log").read_text()
    )
    assert batches == [str(number) for number in range(len(batches))]


def test_no_metric_names_a_card_or_a_transaction(stack: Stack):
    metrics = stack.prometheus.query('{job=~"stream|exporter"}')
    allowed = {
        "__name__",
        "instance",
        "job",
        "partition",
        "topic",
        "le",
        "kind",
        "stage",
        "role",
        "version",
        "result",
        "field",
        "currency",
    }
    allowed |= {"asset", "key", "check", "blocking", "dagster_job", "status"}
    allowed |= {"implementation", "major", "minor", "patchlevel", "generation"}  # of Python itself
    allowed |= {label for labels in INFO.values() for label in labels}
    assert {label for series in metrics for label in series["metric"]} <= allowed
