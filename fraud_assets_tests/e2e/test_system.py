"""The system as a whole, on real Kafka, Spark, Valkey, MLflow and Dagster."""

import base64
import json
import time
import urllib.request
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import groupby

import mlflow
import numpy as np
import psutil
import pytest
from kafka import KafkaProducer

from fraud_assets.registry import Registry
from fraud_assets_tests.e2e.conftest import Stack
from fraud_assets_tests.schemas import validator
from fraud_core.features.merchant_risk import MERCHANT_FEATURES, MerchantRisk
from fraud_core.features.table import FEATURES, compute_features
from fraud_core.payments.transaction import decode_transactions
from fraud_core.timestamps import parse_rfc3339_ms
from fraud_core.topics import DEAD_LETTER, FEEDBACK, PREDICTIONS, TRANSACTIONS
from fraud_io.exchange_rate_log import ExchangeRateLog
from fraud_io.folders import Lake
from streaming.models.merchant_risk_source import load

pytestmark = pytest.mark.e2e


def test_the_demo_loses_nothing_and_decides_nothing_twice(stack: Stack):
    ledger = stack.summary["ledger"]
    assert ledger["produced"] == ledger["predicted"] + ledger["dead_lettered"] >= 60_000
    assert ledger["lost"] == ledger["duplicates"] == 0


def test_the_summary_holds_what_it_promises(stack: Stack):
    summary = stack.summary
    assert summary["seconds_to_first_live_prediction"] > 0
    assert set(summary["latency_ms"]) == {"p50", "p95", "p99"}
    assert set(summary["model"]) >= {"version", "average_precision", "roc_auc", "f2", "precision", "recall"}
    assert summary["throughput_per_s"] > 50
    assert summary["peak_memory_mib"] < 6 * 1024
    for url in summary["urls"].values():
        assert urllib.request.urlopen(url, timeout=30).status == 200


def test_the_job_took_up_the_first_model_without_a_restart_and_flags_with_reasons(stack: Stack):
    predictions = [json.loads(record.value()) for record in stack.read(PREDICTIONS)]
    assert {prediction["model_version"] for prediction in predictions} == {None, stack.summary["model"]["version"]}
    flagged = [prediction for prediction in predictions if prediction["prediction"] == 1]
    assert flagged
    for prediction in flagged:
        assert prediction["score"] >= prediction["threshold"]
        assert prediction["reasons"][0]["value"] == prediction["features"][prediction["reasons"][0]["feature"]]
    unscored = [prediction for prediction in predictions if prediction["model_version"] is None]
    assert all(prediction["score"] is None and prediction["prediction"] == 0 for prediction in unscored)


def test_predictions_conform_to_their_schema_and_say_outside_the_value_when_they_were_made(stack: Stack):
    is_valid = validator(PREDICTIONS.schema).is_valid
    for record in stack.read(PREDICTIONS):
        assert is_valid(json.loads(record.value()))
        assert "scored_at" in dict(record.headers())


def test_served_features_equal_a_recomputation_from_the_topic_to_the_bit(stack: Stack):
    """The parity that everything rests on: training's call over the whole topic against what the stream published."""
    records = stack.read(TRANSACTIONS)
    arrived = decode_transactions(
        [record.value() for record in records],
        [record.partition() for record in records],
        [record.offset() for record in records],
        [record.timestamp()[1] for record in records],
        stack.settings.reading_rules,
    ).transactions
    rates = ExchangeRateLog(stack.settings.lake).rates(stack.settings.currency)
    expected = compute_features(arrived, None, MerchantRisk.empty(), rates).values
    position = {key: row for row, key in enumerate(zip(arrived["partition"], arrived["offset"], strict=True))}
    served = [json.loads(record.value()) for record in stack.read(PREDICTIONS)]
    rows = np.array([position[prediction["partition"], prediction["offset"]] for prediction in served])
    values = np.array([[prediction["features"][name] for name in FEATURES] for prediction in served])

    n_user = len(FEATURES) - len(MERCHANT_FEATURES)
    assert len(served) == len(arrived)
    assert np.array_equal(values[:, :n_user], expected[rows, :n_user])

    tables = [prediction["merchant_risk_table"] for prediction in served]
    assert any(tables), "the stream never used a merchant risk table"
    for table, group in groupby(sorted(range(len(served)), key=lambda row: tables[row] or ""), key=tables.__getitem__):
        members = list(group)
        of_group = arrived[rows[members]]
        risk = load(stack.settings.lake / "merchant_risk", (table,) if table else ()).risk
        looked_up = risk.lookup(of_group["merchant_id"], of_group["event_time_ms"])
        assert np.array_equal(values[members, n_user:], looked_up)


def test_somebody_elses_file_goes_through_the_same_topics_and_bad_rows_are_reported(stack: Stack, tmp_path):
    # Of yesterday, whenever this runs: neither in the future nor beyond what topics and features keep.
    at = datetime.now(UTC).replace(microsecond=0, tzinfo=None) - timedelta(days=1)
    rows = ["transaction_id,user_id,merchant_id,amount,currency,timestamp"]
    rows += [
        f"own-{i},card-{i % 3},shop-{i % 2},{10 + i}.50,EUR,{(at + timedelta(seconds=i)).isoformat()}Z"
        for i in range(20)
    ]
    rows += [f"own-bad,card-1,shop-1,three,EUR,{at.isoformat()}Z", f"own-naive,card-1,shop-1,3,EUR,{at.isoformat()}"]
    transactions, labels = tmp_path / "own.csv", tmp_path / "labels.csv"
    transactions.write_text("\n".join(rows))
    labels.write_text("transaction_id,is_fraud\nown-3,1\n")
    replay = stack.run("replay", str(transactions), "--labels", str(labels))
    assert replay.returncode == 1
    assert "amount" in replay.stdout + replay.stderr
    assert "timestamp" in replay.stdout + replay.stderr
    sent = [json.loads(record.value())["transaction_id"] for record in stack.read(TRANSACTIONS)]
    assert sorted(name for name in sent if name.startswith("own-")) == sorted(f"own-{i}" for i in range(20))
    assert "own-3" in {json.loads(record.value())["transaction_id"] for record in stack.read(FEEDBACK)}


def test_a_message_nobody_can_read_ends_in_the_dead_letter_topic_with_its_bytes(stack: Stack):
    # Not ours: a client of another library, as a source of payments may be.
    producer = KafkaProducer(bootstrap_servers=stack.settings.bootstrap_servers)
    sent = producer.send(TRANSACTIONS.default_name, key=b"u", value=b'{"amount": NaN').get(timeout=30)
    producer.close()
    letters = _wait_for(lambda: stack.read(DEAD_LETTER))
    letter = json.loads(letters[-1].value())
    assert base64.b64decode(letter["value_base64"]) == b'{"amount": NaN'
    assert (letter["partition"], letter["offset"]) == (sent.partition, sent.offset)
    assert letter["reason"]
    assert validator(DEAD_LETTER.schema).is_valid(letter)


def test_the_stream_follows_a_promotion_and_a_rollback_by_command_without_a_restart_or_a_lost_payment(stack: Stack):
    first = stack.summary["model"]["version"]
    registry = Registry(stack.settings, "a test")
    mlflow.set_tracking_uri(stack.settings.mlflow_address)
    with mlflow.start_run(experiment_id=mlflow.set_experiment(stack.settings.experiment_name).experiment_id) as run:
        second = registry.register(registry.load(first), run.info.run_id, {})
    assert first != second
    refused = stack.run("promote", "99", "--reason", "wish")
    assert (refused.returncode, "there is no version 99" in refused.stderr) == (1, True)

    with stack.in_background("produce", "--rate", "100", "--minutes", "5") as producer:
        promoted = stack.run("promote", second, "--reason", "to see the stream follow")
        assert promoted.returncode == 0, promoted.stderr
        _wait_for(lambda: stack.decides("champion", second))
        rolled_back = stack.run("rollback")
        assert rolled_back.returncode == 0, rolled_back.stderr
        _wait_for(lambda: stack.decides("champion", first))
        assert producer.poll() is None, "the payments ended before the models had changed"
    assert stack.run("ledger").returncode == 0

    predictions = stack.read(PREDICTIONS)
    for _, of_partition in groupby(predictions, key=lambda record: record.partition()):
        versions = [version for version, _ in groupby(_version(record) for record in of_partition)]
        assert [version for version in versions if version] == [first, second, first]
    by_micro_batch = defaultdict(set)
    for record in predictions:
        by_micro_batch[dict(record.headers())["scored_at"]].add(_version(record))
    assert all(len(versions) == 1 for versions in by_micro_batch.values())
    moves = [json.loads(line) for line in Lake(stack.settings.lake).promotions.read_text().splitlines()]
    asked_ms = max(
        parse_rfc3339_ms(move["at"]) for move in moves if (move["version"], move["to"]) == (second, "Production")
    )
    followed_ms = min(parse_rfc3339_ms(at.decode()) for at, by in by_micro_batch.items() if by == {second})
    print(f"the stream decided with the promoted version {followed_ms - asked_ms} ms after it was asked for")


def test_a_second_up_is_refused_with_a_sentence(stack: Stack):
    second = stack.run("up")
    assert second.returncode != 0
    assert "Traceback" not in second.stdout + second.stderr
    assert "down" in second.stdout + second.stderr


def test_state_survives_a_restart_and_down_leaves_no_process_and_no_port(stack: Stack):
    before = len(stack.read(PREDICTIONS))
    assert stack.run("status").returncode == 0
    assert stack.run("down").returncode == 0
    assert not [p for p in psutil.process_iter(["environ"]) if _belongs_to(p, stack)]
    assert stack.run("status").returncode != 0

    assert stack.run("up").returncode == 0
    live = stack.run("produce", "--rate", "50", "--minutes", "0.2")
    assert live.returncode == 0, live.stdout + live.stderr
    produced = len(stack.read(TRANSACTIONS))
    predictions = _wait_for(
        lambda: (found := stack.read(PREDICTIONS)) and len(found) + len(stack.read(DEAD_LETTER)) == produced and found
    )
    assert len(predictions) > before
    keys = [(p["partition"], p["offset"]) for p in (json.loads(record.value()) for record in predictions)]
    assert len(set(keys)) == len(keys)
    assert json.loads(predictions[-1].value())["model_version"] == stack.summary["model"]["version"]


def _version(record) -> str | None:
    return json.loads(record.value())["model_version"]


def _belongs_to(process: psutil.Process, stack: Stack) -> bool:
    return (process.info["environ"] or {}).get("FRAUD_HOME") == stack.environment["FRAUD_HOME"]


def _wait_for(condition, timeout_s: float = 60):
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        assert time.monotonic() < deadline, "nothing came within a minute"
        time.sleep(1)
    return result
