"""The alert and recording rules, by promtool: they parse, and their own unit tests pass."""

import subprocess

import pytest
import yaml

from fraud_assets_tests.e2e.prometheus import CONFIGURATION, program

pytestmark = pytest.mark.e2e


def promtool(*arguments: object) -> str:
    done = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_accepts_the_configuration_and_its_rules():
    assert "rule files found" in promtool("check", "config", CONFIGURATION / "prometheus.yml")


def test_each_alert_fires_when_it_should_and_not_before():
    files = sorted((CONFIGURATION / "tests").glob("*.yml"))
    assert promtool("test", "rules", *files).count("SUCCESS") == len(files)


def test_no_alert_is_without_a_test_in_which_it_fires():
    rules = yaml.safe_load((CONFIGURATION / "rules" / "alerts.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    cases = [
        case
        for file in (CONFIGURATION / "tests").glob("*.yml")
        for test in yaml.safe_load(file.read_text())["tests"]
        for case in test.get("alert_rule_test", [])
    ]
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == alerts
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == alerts
