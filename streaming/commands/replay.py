"""``python -m streaming.commands.replay FILE``: somebody's own transactions, and labels, through the same topics.

Rows are checked as the stream checks its messages. Good ones are sent, refused ones counted and shown, none is dropped
without a word. Only labels without a time are held in memory, until their transaction passes. Exit status: 0 all
accepted, 1 some refused or not sent, 2 nothing usable was given.
"""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, TextIO

import typer

from fraud_core.input_files.decoded_rows import checked_files, decode_label_rows, decode_transaction_rows
from fraud_core.input_files.errors import InputFileError
from fraud_core.input_files.messages import (
    LABEL_COLUMNS,
    REQUIRED_LABEL_COLUMNS,
    REQUIRED_TRANSACTION_COLUMNS,
    TRANSACTION_COLUMNS,
)
from fraud_core.input_files.paths import Row, rows_of
from fraud_core.input_files.refused import Refused
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS, SECOND_MS, now_ms
from streaming.commands.command_line import run
from streaming.commands.producer import RecordProducer

_BATCH_ROWS = 2000
_REPORT_EVERY_S = 2.0

app = typer.Typer(add_completion=False)


@dataclass
class Replay:
    """One run: what it sends through, how fast, and what came of it."""

    settings: Settings
    producer: RecordProducer
    refused: Refused
    stop: threading.Event
    speed: float | None
    clock: Callable[[], float] = time.monotonic
    transactions: int = 0
    labels: int = 0
    undated: dict[str, tuple[bool, str]] = field(default_factory=dict)
    _first: tuple[int, float] | None = None  # event time in ms and clock of the first transaction
    _reported: float = field(default_factory=time.monotonic)

    def send_transactions(self, file: Path) -> None:
        for batch in _batches(rows_of(file)):
            accepted = decode_transaction_rows(
                file, batch, self.refused, now_ms=now_ms(), rules=self.settings.reading_rules
            )
            for row in accepted.drop("partition", "offset", "ingest_time_ms").iter_rows(named=True):
                transaction_id, time_ms = row["transaction_id"], row["event_time_ms"]
                if self.speed is not None:
                    self._wait_for(time_ms, self.speed)
                if self.stop.is_set():
                    return
                self.producer.send_transaction(row)
                self.transactions += 1
                if transaction_id in self.undated:
                    self._send_undated(transaction_id, time_ms)
            self.producer.poll()
            self._show_progress()

    def send_labels(self, file: Path) -> None:
        """Those that say when they became known; the others are kept until their transaction has passed."""
        for batch in _batches(rows_of(file)):
            labels, dated = decode_label_rows(file, batch, self.refused, self.settings.reading_rules)
            for label, is_dated in zip(labels.iter_rows(), dated, strict=True):
                transaction_id, is_fraud, source, time_ms, *_ = label
                if is_dated:
                    self._send_label(transaction_id, is_fraud, source, time_ms)
                else:
                    self.undated[transaction_id] = (is_fraud, source)
            self.producer.poll()
            if self.stop.is_set():
                return

    def send_labels_of_others(self) -> None:
        """Undated labels whose transaction is not in the files: known from now on."""
        for transaction_id in list(self.undated):
            self._send_undated(transaction_id, now_ms())

    def _send_undated(self, transaction_id: str, event_time_ms: int) -> None:
        """When a label without a time became known: after the usual delay, which is what silence is held to as well."""
        is_fraud, source = self.undated.pop(transaction_id)
        usual_ms = event_time_ms + self.settings.label_delay_days * DAY_MS
        self._send_label(transaction_id, is_fraud, source, min(usual_ms, now_ms()))

    def _send_label(self, transaction_id: str, is_fraud: bool, source: str, time_ms: int) -> None:
        self.producer.send_label(transaction_id, is_fraud, source, time_ms)
        self.labels += 1

    def _wait_for(self, time_ms: int, speed: float) -> None:
        """Until the transaction is due: spaced as event times are, ``speed`` times faster; one from before, at once."""
        now = self.clock()
        if self._first is None:
            self._first = (time_ms, now)
        first_ms, began = self._first
        wait_s = began + (time_ms - first_ms) / SECOND_MS / speed - now
        if wait_s > 0:
            self.producer.poll()
            self.stop.wait(wait_s)
            self._show_progress()

    def _show_progress(self) -> None:
        if time.monotonic() - self._reported >= _REPORT_EVERY_S:
            self._reported = time.monotonic()
            end = "\r" if sys.stdout.isatty() else "\n"
            print(f"   {self.transactions:,} transactions sent", end=end, flush=True)


@app.command()
def main(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, JSON Lines or Parquet file, or a folder of them.")],
    labels: Annotated[Path | None, typer.Option(help="The same with transaction_id and is_fraud (0 or 1).")] = None,
    speed: Annotated[
        float | None, typer.Option(min=0.001, help="Times faster than the event times (default: as fast as possible).")
    ] = None,
    refused: Annotated[Path | None, typer.Option(help="Write refused rows and reasons to this file.")] = None,
) -> int:
    """Send your own transactions through the system: columns transaction_id, user_id, merchant_id, amount, currency and
    timestamp (with zone), and optionally what else docs/contract.md names.

    A label file may have label_time (default: the label delay after the transaction) and source (default: analyst).
    """
    settings, stop = Settings(), threading.Event()
    files = _checked(path, REQUIRED_TRANSACTION_COLUMNS, TRANSACTION_COLUMNS)
    label_files = _checked(labels, REQUIRED_LABEL_COLUMNS, LABEL_COLUMNS) if labels else []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    began = time.monotonic()
    with ExitStack() as at_exit:
        report = Refused(at_exit.enter_context(_created(refused)) if refused else None)
        replay = Replay(settings, at_exit.enter_context(RecordProducer(settings)), report, stop, speed)
        for file in label_files:
            replay.send_labels(file)
        for file in files:
            if not stop.is_set():
                replay.send_transactions(file)
        if not stop.is_set():
            replay.send_labels_of_others()
    seconds = time.monotonic() - began
    print(
        f"   {replay.transactions:,} transactions and {replay.labels:,} labels sent, {report.counts.total():,} rows "
        f"refused in {seconds:.1f} s ({replay.transactions / seconds:,.0f}/s)" + (", stopped" if stop.is_set() else "")
    )
    for line in report.lines():
        print(f"   {line}")
    return 1 if report.counts or stop.is_set() else 0


def _checked(path: Path, required: tuple[str, ...], known: tuple[str, ...]) -> list[Path]:
    """The files of ``path``, all of which have the required columns. Raises InputFileError before anything is sent."""
    files, unused = checked_files(path, required, known)
    if unused:
        print(f"   not used in {path.name}: {', '.join(unused)}")
    return files


def _created(file: Path) -> TextIO:
    try:
        return file.open("w")
    except OSError as error:
        raise InputFileError(f"{file} cannot be written: {error.strerror}") from error


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, _BATCH_ROWS)):
        yield batch


if __name__ == "__main__":
    run(app)
