"""A short seeded chaos run, as a user calls it: on a stack of its own, which it breaks and puts to the proof."""

import json
import os

import pytest

from fraud_assets_tests.e2e.conftest import run

pytestmark = pytest.mark.e2e

FAULTS = ("store-wipe", "kill-after-sink", "mlflow-kill")


def test_a_stream_that_is_broken_under_load_loses_nothing_and_serves_the_features_of_a_clean_run(tmp_path):
    report_file = tmp_path / "report.json"
    faults = [word for name in FAULTS for word in ("--fault", name)]
    chaos = run(dict(os.environ), "chaos", "--seed", "5", "--minutes", "0.3", *faults, "--json", str(report_file))
    assert chaos.returncode == 0, chaos.stdout[-5000:] + chaos.stderr[-5000:]
    report = json.loads(report_file.read_text())
    assert report["ledger"]["produced"] > 3_000
    assert report["ledger"]["lost"] == report["features_differing"] == report["misjudged"] == 0
    assert report["refused"] > 100
    assert sorted(fault["name"] for fault in report["faults"]) == sorted(FAULTS)
    assert all(fault["recovered_after_s"] > 0 for fault in report["faults"])


def test_a_fault_nobody_knows_is_refused_with_the_names_there_are():
    refused = run(dict(os.environ), "chaos", "--fault", "earthquake")
    assert refused.returncode == 1
    assert "no fault is called earthquake: there are driver-kill" in refused.stderr
