"""The exporter's translation of Dagster's answers, and what it says when nobody answers. The rest is in e2e."""

import socket

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from fraud_core.settings import Settings
from fraud_stack.exporter.dagster_metrics import DagsterCollector, asset_metrics, check_metrics, job_metrics
from fraud_stack.exporter.kafka_metrics import KafkaCollector
from fraud_stack.exporter.mlflow_metrics import MlflowCollector
from fraud_stack.services.ports import free_ports

pytestmark = pytest.mark.assets


def samples(metrics) -> dict:
    return {(s.name, *sorted(s.labels.items())): s.value for metric in metrics for s in metric.samples}


def materialized(asset: str, *entries: dict) -> dict:
    return {
        "assetKey": {"path": [asset]},
        "assetMaterializations": [{"timestamp": "1795603260367", "metadataEntries": list(entries)}],
    }


def test_numbers_and_truth_values_become_gauges_and_named_texts_labels_of_one():
    node = materialized(
        "production_model",
        {"label": "test_recall", "floatValue": 0.5},
        {"label": "dagster/row_count", "intRepr": "3000000000"},
        {"label": "is-good", "boolValue": True},
        {"label": "not_a_number", "floatValue": None},
        {"label": "champion", "text": "3"},
        {"label": "reason", "text": "free text, different every day"},
        {"label": "rows_by_source", "jsonString": '{"analyst": 3, "chargeback": 4.5}'},
        {"label": "settings", "jsonString": '{"max_depth": 3, "objective": "binary:logistic"}'},
        {"label": "list", "jsonString": "[1, 2]"},
    )
    assert samples(asset_metrics([node])) == {
        ("fraud_production_model_test_recall",): 0.5,
        ("fraud_production_model_row_count",): 3e9,
        ("fraud_production_model_is_good",): 1.0,
        ("fraud_production_model_rows_by_source", ("key", "analyst")): 3.0,
        ("fraud_production_model_rows_by_source", ("key", "chargeback")): 4.5,
        ("fraud_production_model_info", ("champion", "3")): 1.0,
        ("fraud_asset_last_materialization_time_seconds", ("asset", "production_model")): 1795603260.367,
    }


def test_an_asset_that_was_never_made_has_no_figures():
    node = {"assetKey": {"path": ["evaluation"]}, "assetMaterializations": []}
    assert samples(asset_metrics([node])) == {}


def test_a_check_counts_only_once_it_ran():
    def check(name: str, execution: dict | None) -> dict:
        return {"name": name, "blocking": name == "passed", "executionForLatestMaterialization": execution}

    checks = [
        check("passed", {"evaluation": {"success": True}}),
        check("failed", {"evaluation": {"success": False}}),
        check("running", {"evaluation": None}),
        check("never", None),
    ]
    nodes = [
        {"assetKey": {"path": ["tuned_model"]}, "assetChecksOrError": {"checks": checks}},
        {"assetKey": {"path": ["an_asset_whose_checks_cannot_be_read"]}, "assetChecksOrError": {}},
    ]
    of_check = (("asset", "tuned_model"), ("blocking", "true"), ("check", "passed"))
    of_failed = (("asset", "tuned_model"), ("blocking", "false"), ("check", "failed"))
    assert samples(check_metrics(nodes)) == {
        ("fraud_asset_check_passed", *of_check): 1.0,
        ("fraud_asset_check_passed", *of_failed): 0.0,
    }


def test_a_job_that_never_ended_so_has_a_count_and_no_time():
    none = {"count": 0, "results": []}
    answer = {f"daily_{status}": none for status in ("FAILURE", "CANCELED", "QUEUED")}
    answer["daily_SUCCESS"] = {"count": 7, "results": [{"endTime": 1795603263.25}]}
    answer["daily_STARTED"] = {"count": 1, "results": [{"endTime": None}]}
    found = samples(job_metrics(answer, ["daily"]))
    assert {key[0]: value for key, value in found.items() if key[0] != "fraud_job_runs"} == {
        "fraud_job_last_end_time_seconds": 1795603263.25
    }
    assert {dict(key[1:])["status"]: value for key, value in found.items() if key[0] == "fraud_job_runs"} == {
        "success": 7.0,
        "failure": 0.0,
        "canceled": 0.0,
        "started": 1.0,
        "queued": 0.0,
    }


def test_a_dagster_that_takes_longer_than_a_scrape_may_is_down():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        registry = CollectorRegistry()
        registry.register(DagsterCollector(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.1))
        assert "fraud_dagster_up 0.0" in generate_latest(registry).decode().splitlines()


def test_what_does_not_answer_is_down_and_leaves_no_old_figures():
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    registry = CollectorRegistry()
    registry.register(DagsterCollector(f"http://{nobody}"))
    registry.register(MlflowCollector(f"http://{nobody}"))
    registry.register(KafkaCollector(Settings(kafka_bootstrap_servers=nobody)))
    said = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    assert said == ["fraud_dagster_up 0.0", "fraud_mlflow_up 0.0", "fraud_kafka_up 0.0"]
