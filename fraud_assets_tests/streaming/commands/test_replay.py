"""Somebody's own file: every row is sent as the stream accepts it, or refused with its place and a reason."""

import json
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import orjson
import polars as pl
import pytest

from fraud_core.input_files.refused import Refused
from fraud_core.payments.transaction import encode_transaction
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS, parse_rfc3339_ms
from streaming.commands.replay import Replay

pytestmark = pytest.mark.streaming

HEADER = "transaction_id,user_id,merchant_id,amount,currency,timestamp"
GOOD = "t-1,u-1,m-1,10.50,EUR,2026-01-31T12:00:00Z"
SENT = {
    "transaction_id": "t-1",
    "user_id": "u-1",
    "merchant_id": "m-1",
    "amount": 10.5,
    "currency": "EUR",
    "timestamp": "2026-01-31T12:00:00.000Z",
}


class Records:
    """Takes what a RecordProducer would send."""

    def __init__(self) -> None:
        self.transactions: list[dict] = []
        self.labels: list[tuple] = []

    def send_transaction(self, transaction: dict) -> None:
        self.transactions.append(orjson.loads(encode_transaction(transaction)))

    def send_label(self, *label: object) -> None:
        self.labels.append(label)

    def poll(self) -> None: ...


def replay(speed: float | None = None) -> Replay:
    return Replay(Settings(), Records(), Refused(), threading.Event(), speed)


def written(folder: Path, name: str, *lines: str) -> Path:
    file = folder / name
    file.write_text("\n".join(lines) + "\n")
    return file


def test_the_six_required_columns_of_a_csv_file_become_a_message(tmp_path):
    run = replay()
    run.send_transactions(written(tmp_path, "a.csv", HEADER, GOOD))
    assert run.producer.transactions == [SENT]
    assert run.refused.counts.total() == 0


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_a_byte_order_mark_and_windows_line_ends_are_understood(tmp_path, delimiter):
    file = tmp_path / "a.csv"
    file.write_bytes(("\ufeff" + "\r\n".join([HEADER, GOOD, ""]).replace(",", delimiter)).encode())
    run = replay()
    run.send_transactions(file)
    assert run.producer.transactions == [SENT]


def test_the_three_formats_give_the_same_messages(tmp_path):
    rows = [
        {**SENT, "transaction_id": f"t-{i}", "country": "DE" if i % 2 else None, "latitude": 50.5 + i}
        for i in range(20)
    ]
    frame = pl.DataFrame(rows)
    typed = frame.with_columns(
        pl.col("timestamp").str.to_datetime(time_unit="ns", time_zone="Europe/Berlin"),
        pl.col("amount").cast(pl.Decimal(12, 2)),
    )
    frame.write_csv(tmp_path / "a.csv")
    frame.write_ndjson(tmp_path / "a.jsonl")
    typed.write_parquet(tmp_path / "a.parquet")
    sent = {}
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        run = replay()
        run.send_transactions(tmp_path / name)
        assert run.refused.counts.total() == 0
        sent[name] = run.producer.transactions
    expected = [{name: value for name, value in row.items() if value is not None} for row in rows]
    assert sent == dict.fromkeys(sent, expected)


@pytest.mark.parametrize(
    ("row", "kind", "says"),
    [
        ("t-1,u-1,m-1,three,EUR,2026-01-31T12:00:00Z", "amount", "no number"),
        ("t-1,u-1,m-1,nan,EUR,2026-01-31T12:00:00Z", "amount", "nan"),
        ("t-1,u-1,m-1,1_000,EUR,2026-01-31T12:00:00Z", "amount", "1_000"),
        ("t-1,u-1,m-1,3,euro,2026-01-31T12:00:00Z", "currency", "euro"),
        ("t-1,u-1,m-1,3,EUR,2026-01-31T12:00:00", "time without a zone", "has no zone"),
        ("t-1,u-1,m-1,3,EUR,2026-01-31 12:00:00", "time without a zone", "has no zone"),
        ("t-1,u-1,m-1,3,EUR,yesterday", "timestamp", "yesterday"),
        ("t-1,u-1,m-1,3,EUR,2999-01-31T12:00:00Z", "timestamp in the future", "after the record's arrival"),
        ("t-1,,m-1,3,EUR,2026-01-31T12:00:00Z", "user_id", "missing"),
        ("t-1,u-1", "number of fields", "2, but the header names 6"),
        ("\udcff,u-1,m-1,3,EUR,2026-01-31T12:00:00Z", "not JSON", "UTF-8"),
    ],
)
def test_a_bad_row_is_refused_with_its_line_and_reason_and_the_others_are_sent(tmp_path, row, kind, says):
    file = tmp_path / "a.csv"
    file.write_bytes("\n".join([HEADER, GOOD, row, GOOD]).encode("utf-8", "surrogateescape"))
    run = replay()
    run.send_transactions(file)
    assert run.producer.transactions == [SENT, SENT]
    assert run.refused.counts == {kind: 1}
    (example,) = run.refused.examples[kind]
    assert example.startswith("a.csv, row 3: ")
    assert says in example


@pytest.mark.parametrize(
    "line", ['{"amount": ', "[1]", "17", '{"transaction_id": "t", "amount": "' + "9" * 2_000_000 + '"}']
)
def test_a_line_that_is_no_object_is_refused_and_the_next_one_read(tmp_path, line):
    good = json.dumps(SENT)
    run = replay()
    run.send_transactions(written(tmp_path, "a.jsonl", good, line, good))
    assert len(run.producer.transactions) == 2
    assert run.refused.counts.total() == 1


def test_a_parquet_time_without_a_zone_is_refused_row_by_row(tmp_path):
    naive = pl.DataFrame([{**SENT, "timestamp": datetime(2026, 1, 31, 12)}] * 2)
    naive.write_parquet(tmp_path / "a.parquet")
    run = replay()
    run.send_transactions(tmp_path / "a.parquet")
    assert run.producer.transactions == []
    assert run.refused.counts == {"time without a zone": 2}
    assert run.refused.examples["time without a zone"][1] == (
        "a.parquet, row 2: timestamp: '2026-01-31T12:00:00' has no zone: end it with Z or an offset such as +01:00, or "
        "set FRAUD_TIME_ZONE to the zone its producers mean"
    )


def test_labels_are_sent_with_their_time_or_with_the_usual_delay_after_their_transaction(tmp_path):
    labels = written(
        tmp_path, "l.csv", "transaction_id,is_fraud,label_time,source",
        "t-0,true,2026-02-01T00:00:00Z,chargeback", "t-1,1,,", "t-2,0,,customer", "t-3,perhaps,,", "t-4,1,,neighbour",
    )  # fmt: skip
    run = replay()
    run.send_labels(labels)
    assert run.producer.labels == [("t-0", True, "chargeback", parse_rfc3339_ms("2026-02-01T00:00:00Z"))]
    run.send_transactions(written(tmp_path, "a.csv", HEADER, GOOD))
    assert run.producer.labels[1:] == [
        ("t-1", True, "analyst", parse_rfc3339_ms(SENT["timestamp"]) + Settings().label_delay_days * DAY_MS)
    ]
    before_ms = time.time_ns() // 1_000_000
    run.send_labels_of_others()
    (*label, time_ms) = run.producer.labels[2]
    assert label == ["t-2", False, "customer"]
    assert time_ms >= before_ms
    assert run.producer.labels[3][:3] == ("t-4", True, "neighbour")
    assert run.refused.counts == {"is_fraud": 1}


def test_no_label_becomes_known_in_the_future(tmp_path):
    now = datetime.now(UTC).isoformat()
    run = replay()
    run.send_labels(written(tmp_path, "l.csv", "transaction_id,is_fraud", "t-1,1"))
    run.send_transactions(written(tmp_path, "a.csv", HEADER, f"t-1,u-1,m-1,1,EUR,{now}"))
    assert run.producer.labels[0][3] <= time.time_ns() // 1_000_000


class Clock(threading.Event):
    """A stop that nobody gives, on a clock that goes on when it is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.waits: list[float] = []

    def wait(self, timeout: float) -> bool:
        self.waits.append(timeout)
        self.now += timeout
        return False


def test_with_a_speed_the_spacing_of_event_times_is_kept_that_many_times_faster_and_a_late_one_does_not_wait(
    tmp_path,
):
    times = ("12:00:00", "12:00:30", "12:00:20", "12:00:50")
    run, clock = replay(speed=10), Clock()
    run.stop, run.clock = clock, lambda: clock.now
    run.send_transactions(written(tmp_path, "a.csv", HEADER, *(GOOD.replace("12:00:00", time) for time in times)))
    assert len(run.producer.transactions) == 4
    assert clock.waits == [3.0, 2.0]


def test_all_refused_rows_are_written_where_asked_and_only_a_few_are_shown(tmp_path):
    run = replay()
    with (tmp_path / "refused.jsonl").open("w") as run.refused.file:
        run.send_transactions(written(tmp_path, "a.csv", HEADER, *["t,u,m,none,EUR,2026-01-31T12:00:00Z"] * 10))
    refused = [json.loads(line) for line in (tmp_path / "refused.jsonl").read_text().splitlines()]
    assert [record["row"] for record in refused] == list(range(2, 12))
    assert refused[0]["values"]["amount"] == "none"
    assert len(run.refused.examples["amount"]) == 3


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streaming.commands.replay", *map(str, arguments)],
        env=os.environ | environment,
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_missing_columns_are_named_with_those_found_before_anything_is_sent(tmp_path):
    written(tmp_path, "1.csv", HEADER, GOOD)
    written(tmp_path, "2.csv", "transaction_id,amount,when", "t,1,now")
    result = command(tmp_path)
    assert result.returncode == 2
    assert result.stderr == (
        f"fraud: {tmp_path / '2.csv'} lacks the columns user_id, merchant_id, currency, timestamp; "
        "it has transaction_id, amount, when\n"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["/no/such/file"], "does not exist"), (["x", "--fast"], "No such option"), ([], "Missing argument 'FILE'")],
)
def test_a_wrong_call_gets_one_sentence_and_status_2(arguments, says):
    result = command(*arguments)
    assert result.returncode == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_setting_is_named_as_the_variable_it_comes_from(tmp_path):
    result = command(written(tmp_path, "a.csv", HEADER, GOOD), FRAUD_KAFKA_PORT="none")
    assert result.returncode == 2
    assert result.stderr.startswith("fraud: FRAUD_KAFKA_PORT is set to 'none': ")
    assert result.stderr.count("\n") == 1


def test_a_stop_is_heeded_between_two_transactions(tmp_path):
    run = replay(speed=1)
    threading.Timer(0.2, run.stop.set).start()
    run.send_transactions(written(tmp_path, "a.csv", HEADER, GOOD, GOOD.replace("12:00", "13:00")))
    assert len(run.producer.transactions) == 1


def test_a_broker_that_does_not_answer_is_named_with_what_to_do(tmp_path):
    result = command(written(tmp_path, "a.csv", HEADER, GOOD), FRAUD_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert result.returncode == 1
    assert "127.0.0.1:1" in result.stderr
    assert "./run up" in result.stderr
    assert "Traceback" not in result.stderr
