"""``./run replay`` as it is called, to a broker: what it says, its exit status, and what is in the topics then."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fraud_assets_tests.services import Broker
from fraud_core.topics import FEEDBACK, TRANSACTIONS
from fraud_io.folders import ROOT
from fraud_io.kafka.reader import TopicReader

pytestmark = pytest.mark.streaming

HEADER = "transaction_id,user_id,merchant_id,amount,currency,timestamp"


def payment(number: int, currency: str = "EUR") -> str:
    return f"{number:06},u-1,m-1,10.50,{currency},2026-01-31T12:00:{59 - number:02}Z"


@pytest.fixture
def topics(broker: Broker) -> Broker:
    broker.make_topics_anew(broker.settings)
    return broker


def written(folder: Path, name: str, *lines: str) -> Path:
    file = folder / name
    file.write_text("\n".join(lines) + "\n")
    return file


def replay(broker: Broker, *arguments: object) -> subprocess.CompletedProcess[str]:
    address = {"FRAUD_KAFKA_BOOTSTRAP_SERVERS": broker.settings.bootstrap_servers}
    return subprocess.run(
        [sys.executable, "-m", "streaming.commands.replay", *map(str, arguments)],
        env=os.environ | address,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def ids(broker: Broker, topic: str) -> list[str]:
    records = TopicReader(broker.settings).read(topic)
    return [json.loads(record.value() or b"")["transaction_id"] for record in records]


def test_a_corrected_file_is_replayed_without_what_the_topic_has(topics, tmp_path):
    rows = [payment(1), payment(2, "euro"), payment(3)]
    first = replay(topics, written(tmp_path, "a.csv", HEADER, *rows), "--refused", tmp_path / "refused.jsonl")
    assert first.returncode == 1
    assert "3 rows: 2 transactions sent, 1 refused;" in first.stdout
    assert ids(topics, TRANSACTIONS.default_name) == ["000003", "000001"]  # by time: one card, so one partition

    rows[1] = payment(2)
    again = replay(topics, written(tmp_path, "a.csv", HEADER, *rows), "--skip-known")
    assert again.returncode == 0
    assert "3 rows: 1 transactions sent, 0 refused, 2 already in the topic;" in again.stdout
    assert ids(topics, TRANSACTIONS.default_name) == ["000003", "000001", "000002"]


def test_the_file_of_refused_rows_is_given_back(topics, tmp_path):
    refused = tmp_path / "refused.jsonl"
    replay(topics, written(tmp_path, "a.csv", HEADER, payment(1), payment(2, "euro")), "--refused", refused)
    refused.write_text(refused.read_text().replace('"euro"', '"EUR"', 1))
    back = replay(topics, refused)
    assert back.returncode == 0, back.stdout
    assert ids(topics, TRANSACTIONS.default_name) == ["000001", "000002"]


def test_labels_of_other_ids_are_not_sent_and_the_exit_status_says_so(topics, tmp_path):
    payments = written(tmp_path, "a.csv", HEADER, payment(1), payment(2))
    wrong = replay(topics, payments, "--labels", written(tmp_path, "l.csv", "transaction_id,is_fraud", "1,1", "2,0"))
    assert wrong.returncode == 1
    assert (
        "0 labelled ids are of these payments, 2 are not: 2 of them would be without the zeros in front of it, which a "
        "spreadsheet drops (label '1', payment '000001'); no label was sent"
    ) in wrong.stdout
    assert ids(topics, FEEDBACK.default_name) == []

    right = replay(
        topics, payments, "--skip-known", "--label-time", "2026-02-03T00:00:00Z",
        "--labels", written(tmp_path, "l.csv", "transaction_id", "000001"),
    )  # fmt: skip
    assert right.returncode == 0, right.stdout + right.stderr
    (label,) = TopicReader(topics.settings).read(FEEDBACK.default_name)
    assert json.loads(label.value() or b"") == {
        "transaction_id": "000001",
        "is_fraud": True,
        "source": "analyst",
        "label_time": "2026-02-03T00:00:00.000Z",
    }
