"""Somebody's own file: every row is sent as the stream accepts it, or refused with its place and a reason."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_core.input_files.decoded_rows import LABELS, Accepted, FileReader
from fraud_core.input_files.label_matches import LabelMatches
from fraud_core.input_files.refused import Refused
from fraud_core.input_files.sources import sources_of
from fraud_core.payments.transaction import COLUMNS, encode_transaction
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS, now_ms, parse_rfc3339_ms
from streaming.commands.replay import Replay, fill
from streaming.commands.spool import Spool

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


@dataclass
class Sent:
    """What a replay of files sent, and what it refused."""

    transactions: list[dict]
    labels: list[tuple]
    refused: Refused
    refused_labels: Refused
    replay: Replay
    matches: LabelMatches


def replay(
    files: object,
    labels: object = (),
    *,
    speed: float | None = None,
    known: Sequence[str] = (),
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.monotonic,
    reader: FileReader | None = None,
) -> Sent:
    reader = reader or FileReader(now_ms(), Settings().reading_rules)
    records, stop = Records(), stop or threading.Event()
    run = Replay(Settings(), records, stop, speed, clock)
    with Spool() as spool:
        fill(spool, reader, sources_of(files), reader.checked_labels(sources_of(labels))[0], stop)
        spool.add_known(known)
        matches = run.send(spool)
    assert run.transactions == len(records.transactions)
    assert run.labels == len(records.labels)
    if not stop.is_set():
        assert reader.refused.rows == run.transactions + reader.refused.counts.total() + run.skipped
    return Sent(records.transactions, records.labels, reader.refused, reader.refused_labels, run, matches)


def written(folder: Path, name: str, *lines: str) -> Path:
    file = folder / name
    file.write_text("\n".join(lines) + "\n")
    return file


def test_the_six_required_columns_of_a_csv_file_become_a_message(tmp_path):
    sent = replay(written(tmp_path, "a.csv", HEADER, GOOD))
    assert sent.transactions == [SENT]
    assert sent.refused.counts.total() == 0


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_a_byte_order_mark_and_windows_line_ends_are_understood(tmp_path, delimiter):
    file = tmp_path / "a.csv"
    file.write_bytes(("\ufeff" + "\r\n".join([HEADER, GOOD, ""]).replace(",", delimiter)).encode())
    assert replay(file).transactions == [SENT]


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
        replayed = replay(tmp_path / name)
        assert replayed.refused.counts.total() == 0
        sent[name] = replayed.transactions
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
        ("\udc81,u-1,m-1,3,EUR,2026-01-31T12:00:00Z", "neither UTF-8 nor windows-1252", "UTF-8"),
    ],
)
def test_a_bad_row_is_refused_with_its_line_and_reason_and_the_others_are_sent(tmp_path, row, kind, says):
    file = tmp_path / "a.csv"
    file.write_bytes("\n".join([HEADER, GOOD, row, GOOD]).encode("utf-8", "surrogateescape"))
    sent = replay(file)
    assert sent.transactions == [SENT, SENT]
    assert sent.refused.counts == {kind: 1}
    (example,) = sent.refused.examples[kind]
    assert example.startswith("a.csv, row 3: ")
    assert says in example


@pytest.mark.parametrize(
    "line", ['{"amount": ', "[1]", "17", '{"transaction_id": "t", "amount": "' + "9" * 2_000_000 + '"}']
)
def test_a_line_that_is_no_object_is_refused_and_the_next_one_read(tmp_path, line):
    good = json.dumps(SENT)
    sent = replay(written(tmp_path, "a.jsonl", good, line, good))
    assert len(sent.transactions) == 2
    assert sent.refused.counts.total() == 1


def test_a_parquet_time_without_a_zone_is_refused_row_by_row(tmp_path):
    naive = pl.DataFrame([{**SENT, "timestamp": datetime(2026, 1, 31, 12)}] * 2)
    naive.write_parquet(tmp_path / "a.parquet")
    sent = replay(tmp_path / "a.parquet")
    assert sent.transactions == []
    assert sent.refused.counts == {"time without a zone": 2}
    assert sent.refused.examples["time without a zone"][1] == (
        "a.parquet, row 2: timestamp: '2026-01-31T12:00:00' has no zone: end it with Z or an offset such as +01:00, or "
        "set FRAUD_TIME_ZONE to the zone its producers mean"
    )


def test_labels_are_sent_with_their_time_or_with_the_usual_delay_after_their_transaction(tmp_path):
    labels = written(
        tmp_path, "l.csv", "transaction_id,is_fraud,label_time,source",
        "t-0,true,2026-02-01T00:00:00Z,chargeback", "t-1,1,,", "t-2,0,,customer", "t-3,perhaps,,", "t-4,1,,neighbour",
    )  # fmt: skip
    before_ms = now_ms()
    sent = replay(written(tmp_path, "a.csv", HEADER, GOOD), labels)
    others = sent.labels.pop(2), sent.labels.pop(2)
    assert sent.labels == [
        ("t-0", True, "chargeback", parse_rfc3339_ms("2026-02-01T00:00:00Z")),
        ("t-1", True, "analyst", parse_rfc3339_ms(SENT["timestamp"]) + Settings().label_delay_days * DAY_MS),
    ]
    assert [label[:3] for label in others] == [("t-2", False, "customer"), ("t-4", True, "neighbour")]
    assert all(label[3] >= before_ms for label in others)
    assert sent.refused_labels.counts == {"is_fraud": 1}
    assert (sent.matches.matched, sent.matches.unmatched) == (1, 3)


def test_no_label_becomes_known_in_the_future(tmp_path):
    now = datetime.now(UTC).isoformat()
    labels = written(tmp_path, "l.csv", "transaction_id,is_fraud", "t-1,1")
    sent = replay(written(tmp_path, "a.csv", HEADER, f"t-1,u-1,m-1,1,EUR,{now}"), labels)
    assert sent.labels[0][3] <= now_ms()


@pytest.mark.parametrize(
    ("label", "cure"),
    [
        ("123", "without the zeros in front of it"),
        ("123.0", "with all of that"),
        ("000123.0", "without the .0 behind it"),
        ('"000123 "', "without spaces around the id"),
        ("t-9", ""),
    ],
)
def test_labels_that_are_of_no_payment_are_not_sent_and_it_is_said_what_would_make_them_match(tmp_path, label, cure):
    payments = written(tmp_path, "a.csv", HEADER, GOOD.replace("t-1", "000123"))
    sent = replay(payments, written(tmp_path, "l.csv", "transaction_id,is_fraud", f"{label},1"))
    assert sent.labels == []
    assert (sent.matches.matched, sent.matches.unmatched) == (0, 1)
    assert f"1 of them would be {cure}" in sent.matches.line() if cure else sent.matches.cure == ""


def at(second: int, transaction_id: str) -> str:
    return GOOD.replace("t-1", transaction_id).replace("12:00:00", f"12:00:{second:02}")


def test_payments_are_sent_in_the_order_of_their_times_over_all_files_and_where_that_is_one_as_in_the_files(tmp_path):
    written(tmp_path, "p_10.csv", HEADER, at(9, "i"), at(5, "f"), at(5, "g"))
    written(tmp_path, "p_2.csv", HEADER, at(8, "h"), at(5, "d"), at(5, "e"))
    written(tmp_path, "p_1.csv", HEADER, at(5, "b"), at(5, "c"), at(1, "a"))
    assert [row["transaction_id"] for row in replay(tmp_path).transactions] == list("abcdefghi")


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=40))
def test_any_files_are_sent_as_one_sorted_by_time_file_and_row(rows):
    """A payment: its second, and the file that it is in."""
    with TemporaryDirectory() as folder:
        lines = {
            file: [(second, f"{file}-{n}") for n, (second, of) in enumerate(rows) if of == file] for file in range(3)
        }
        for file, payments in lines.items():
            written(Path(folder), f"{file}.csv", HEADER, *(at(second, name) for second, name in payments))
        expected = sorted((payment for file in range(3) for payment in lines[file]), key=lambda payment: payment[0])
        assert [row["transaction_id"] for row in replay(folder).transactions] == [name for _, name in expected]


def test_what_does_not_fit_into_memory_is_sorted_on_disk(tmp_path):
    """180 MB of payments, newest first, with 128 MB of memory."""
    number = pl.int_range(600_000, eager=True)
    rows = pl.DataFrame({"transaction_id": "t-" + number.cast(pl.String), "event_time_ms": 2_000_000_000_000 - number})
    empty = {name: pl.lit(None, dtype).alias(name) for name, dtype in COLUMNS.items() if name not in rows.columns}
    rows = rows.with_columns(*empty.values()).with_columns(offset=number, email=number.cast(pl.String).str.zfill(254))
    with Spool(memory_limit="128MB") as spool:
        for part in rows.iter_slices(50_000):
            spool.add(Accepted(0, part, pl.DataFrame(schema=LABELS)))
        sent = [row["event_time_ms"] for batch in spool.payments() for row in batch]
    assert sent == sorted(rows["event_time_ms"].to_list())


def test_known_payments_are_skipped_and_counted_and_their_labels_sent(tmp_path):
    labels = written(tmp_path, "l.csv", "transaction_id,is_fraud", "t-1,1")
    payments = written(tmp_path, "a.csv", HEADER, GOOD, GOOD.replace("t-1", "t-2"))
    sent = replay(payments, labels, known=["t-1", "t-1", "t-7"])
    assert [row["transaction_id"] for row in sent.transactions] == ["t-2"]
    assert sent.replay.skipped == 1
    assert [label[0] for label in sent.labels] == ["t-1"]


def test_refused_rows_are_sent_alone_once_they_are_corrected(tmp_path):
    reader = FileReader(now_ms(), Settings().reading_rules)
    refused = tmp_path / "refused.jsonl"
    with refused.open("w") as reader.refused.file:
        replay(written(tmp_path, "a.csv", HEADER, GOOD, GOOD.replace("t-1,u-1", "t-2,"), at(5, "t-3")), reader=reader)
    refused.write_text(refused.read_text().replace('"user_id": null', '"user_id": "u-2"'))
    sent = replay(refused)
    assert sent.transactions == [{**SENT, "transaction_id": "t-2", "user_id": "u-2"}]


def test_labels_inside_the_payments_are_sent(tmp_path):
    reader = FileReader(now_ms(), Settings().reading_rules, labels_inside=True)
    file = written(tmp_path, "a.csv", f"{HEADER},is_fraud", f"{GOOD},1", f"{at(5, 't-2')},")
    sent = replay(file, reader=reader)
    assert [label[:2] for label in sent.labels] == [("t-1", True)]
    assert sent.transactions[0] == SENT


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


def test_with_a_speed_the_spacing_of_event_times_is_kept_that_many_times_faster(tmp_path):
    clock = Clock()
    times = ("12:00:00", "12:00:30", "12:00:20", "12:00:50")
    file = written(tmp_path, "a.csv", HEADER, *(GOOD.replace("12:00:00", time) for time in times))
    assert len(replay(file, speed=10, stop=clock, clock=lambda: clock.now).transactions) == 4
    assert clock.waits == [2.0, 1.0, 2.0]


def test_all_refused_rows_are_written_where_asked_and_only_a_few_are_shown(tmp_path):
    reader = FileReader(now_ms(), Settings().reading_rules)
    with (tmp_path / "refused.jsonl").open("w") as reader.refused.file:
        replay(written(tmp_path, "a.csv", HEADER, *["t,u,m,none,EUR,2026-01-31T12:00:00Z"] * 10), reader=reader)
    refused = [json.loads(line) for line in (tmp_path / "refused.jsonl").read_text().splitlines()]
    assert [record["row"] for record in refused] == list(range(2, 12))
    assert refused[0]["values"]["amount"] == "none"
    assert len(reader.refused.examples["amount"]) == 3


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
    [(["/no/such/file"], "does not exist"), (["x", "--fast"], "No such option"), ([], "Missing argument 'FILE...'")],
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
    class StoppedWhileWaiting(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            self.set()
            return True

    file = written(tmp_path, "a.csv", HEADER, GOOD, GOOD.replace("12:00", "13:00"))
    assert len(replay(file, speed=1, stop=StoppedWhileWaiting()).transactions) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["a.csv", "--refused", "a.csv"], "is one of the files that are read"),
        (["a.csv", "--labels", "a.csv", "--labels-inside"], "leave --labels out"),
        (["a.csv", "--labels", "a.csv"], "--label-time"),
        (["a.csv", "--labels-inside"], "has no column is_fraud"),
        (["a.csv", "--label-time", "yesterday"], "--label-time: 'yesterday' is no time"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_read(tmp_path, arguments, says):
    file = written(tmp_path, "a.csv", HEADER, GOOD)
    result = command(*(file if argument == "a.csv" else argument for argument in arguments))
    assert result.returncode == 2
    assert says in result.stderr
    assert file.read_text() == f"{HEADER}\n{GOOD}\n"


def test_a_broker_that_does_not_answer_is_named_with_what_to_do(tmp_path):
    result = command(written(tmp_path, "a.csv", HEADER, GOOD), FRAUD_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert result.returncode == 1
    assert "127.0.0.1:1" in result.stderr
    assert "./run up" in result.stderr
    assert "Traceback" not in result.stderr
