"""``python -m streaming.commands.replay FILE``: somebody's own transactions, and labels, through the same topics.

Rows are checked as the stream checks its messages and sent in the order in which they happened, over all files. Those
refused are counted and shown: sent, refused and skipped ones are all there are. Exit status: 0 all accepted; 1 some
refused or not sent, or no label is of a payment of the files; 2 nothing usable was given.
"""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TextIO

import orjson
import typer

from fraud_core.input_files.decoded_rows import FileReader, Progress
from fraud_core.input_files.errors import InputFileError
from fraud_core.input_files.label_matches import LabelMatches
from fraud_core.input_files.sources import Source, sources_of
from fraud_core.payments.mapping import RecordMapping
from fraud_core.payments.mapping_file import MappingError, mapping_text
from fraud_core.payments.reader import read_text
from fraud_core.payments.times import parse_time_ms
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS, SECOND_MS, now_ms
from fraud_io.kafka.reader import TopicReader
from streaming.commands.command_line import run
from streaming.commands.producer import RecordProducer
from streaming.commands.spool import Spool

_REPORT_EVERY_S = 2.0

app = typer.Typer(add_completion=False)


@dataclass
class Replay:
    """One run: what it sends through, how fast, and what came of it. skipped : payments that were in the topic."""

    settings: Settings
    producer: RecordProducer
    stop: threading.Event
    speed: float | None
    clock: Callable[[], float] = time.monotonic
    transactions: int = 0
    skipped: int = 0
    labels: int = 0
    _first: tuple[int, float] | None = None  # event time in ms and clock of the first transaction
    _reported: float = field(default_factory=time.monotonic)

    def send(self, spool: Spool) -> LabelMatches:
        """All payments, and the labels: none where no label is of one of the payments, which are then other ids."""
        matches = spool.matches()
        if matches.matched:
            self._send_dated_labels(spool)
        self._send_payments(spool, with_labels=matches.matched > 0)
        if matches.matched:
            self._send_labels_of_others(spool)
        return matches

    def _send_payments(self, spool: Spool, *, with_labels: bool) -> None:
        """with_labels : those without a time as well, each behind its payment."""
        for payment in self._until_stopped(spool.payments()):
            time_ms = payment["event_time_ms"]
            is_known, is_fraud, source = (payment.pop(name) for name in ("is_known", "is_fraud", "source"))
            if is_known:
                self.skipped += 1
            else:
                if self.speed is not None:
                    self._wait_for(time_ms, self.speed)
                if self.stop.is_set():
                    return
                self.producer.send_transaction(payment)
                self.transactions += 1
            if with_labels and is_fraud is not None:
                # Known after the usual delay, which is what silence is held to as well.
                usual_ms = time_ms + self.settings.label_delay_days * DAY_MS
                self._send_label(payment["transaction_id"], is_fraud, source, min(usual_ms, now_ms()))

    def _send_dated_labels(self, spool: Spool) -> None:
        for label in self._until_stopped(spool.dated_labels()):
            self._send_label(label["transaction_id"], label["is_fraud"], label["source"], label["label_time_ms"])

    def _send_labels_of_others(self, spool: Spool) -> None:
        """Undated labels whose payment is not in the files: known from now on."""
        for label in self._until_stopped(spool.undated_labels_of_others()):
            self._send_label(label["transaction_id"], label["is_fraud"], label["source"], now_ms())

    def _until_stopped(self, batches: Iterator[list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
        for batch in batches:
            if self.stop.is_set():
                return
            yield from batch
            self.producer.poll()
            self._show_progress()

    def _send_label(self, transaction_id: str, is_fraud: bool, source: str, time_ms: int) -> None:
        self.producer.send_label(transaction_id, is_fraud, source, time_ms)
        self.labels += 1

    def _wait_for(self, time_ms: int, speed: float) -> None:
        """Until the transaction is due: spaced as event times are, ``speed`` times faster."""
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
            _show(f"{self.transactions:,} transactions sent")


@app.command()
def main(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="CSV, JSON or Parquet files, folders of them, or s3:// addresses."),
    ],
    labels: Annotated[
        str | None,
        typer.Option(help="The same with transaction_id and is_fraud (0 or 1); ids alone are a list of frauds."),
    ] = None,
    labels_inside: Annotated[
        bool, typer.Option("--labels-inside", help="Take labels from the column is_fraud of FILE.")
    ] = False,
    label_time: Annotated[str | None, typer.Option(help="When labels became known that do not say so.")] = None,
    mapping: Annotated[
        str | None,
        typer.Option("--map", "--preset", help="A mapping file or a preset, for other columns (docs/mapping.md)."),
    ] = None,
    decimal_comma: Annotated[bool, typer.Option("--decimal-comma", help="Amounts are written 1.234,56.")] = False,
    skip_known: Annotated[
        bool, typer.Option("--skip-known", help="Leave out transaction_ids that are in the topic already.")
    ] = False,
    speed: Annotated[
        float | None, typer.Option(min=0.001, help="Times faster than the event times (default: as fast as possible).")
    ] = None,
    refused: Annotated[
        Path | None,
        typer.Option(help="Write refused rows and reasons to this file (labels: beside it); corrected, it is a FILE."),
    ] = None,
) -> int:
    """Send your own transactions through the system, in the order of their timestamps: columns transaction_id, user_id,
    merchant_id, amount, currency and timestamp (with zone), and optionally what else docs/contract.md names.

    Labels may have label_time (default: the label delay after the transaction) and source (default: analyst).
    """
    settings, stop = Settings(), threading.Event()
    if labels and labels_inside:
        raise InputFileError("--labels-inside takes the labels of FILE: leave --labels out, or the other")
    sources, label_sources = sources_of(files), sources_of(labels) if labels else []
    if settings.mapping:
        raise InputFileError(
            "FRAUD_MAPPING says that the topic's records have other columns than those that replay sends: unset it, "
            "and give --map for the columns of FILE"
        )
    reader = FileReader(
        now_ms(),
        settings.reading_rules_with(usable_mapping(mapping)),
        decimal_comma=decimal_comma,
        label_time_ms=label_time_of(label_time, settings),
        labels_inside=labels_inside,
        progress=Reporter("rows"),
    )
    _show_unused(reader.checked(sources)[1], labels_inside)
    label_sources, unused = reader.checked_labels(label_sources)
    if unused:
        print(f"   not used of the labels: {', '.join(unused)}")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    began = time.monotonic()
    with ExitStack() as at_exit:
        if refused:
            reader.refused.file = at_exit.enter_context(_created(refused, sources))
        if refused and (labels or labels_inside):
            beside = refused.with_name(f"{refused.stem}-labels{refused.suffix}")
            reader.refused_labels.file = at_exit.enter_context(_created(beside, label_sources))
        replay = Replay(settings, at_exit.enter_context(RecordProducer(settings)), stop, speed)
        spool = at_exit.enter_context(Spool())
        fill(spool, reader, sources, label_sources, stop)
        if skip_known:
            for ids in known_ids(TopicReader(settings), settings.topics.transactions):
                spool.add_known(ids)
        matches = replay.send(spool)
    seconds = time.monotonic() - began
    refusals = reader.refused.counts.total()
    skipped = f", {replay.skipped:,} already in the topic" if skip_known else ""
    print(
        f"   {reader.refused.rows:,} rows: {replay.transactions:,} transactions sent, {refusals:,} refused{skipped}; "
        f"{replay.labels:,} labels sent, {reader.refused_labels.counts.total():,} refused; {seconds:.1f} s "
        f"({replay.transactions / seconds:,.0f}/s)" + (", stopped" if stop.is_set() else "")
    )
    if matches.unmatched:
        print(f"   {matches.line()}" + ("" if matches.matched else "; no label was sent"))
    for what, report in (("", reader.refused), ("labels: ", reader.refused_labels)):
        for line in report.lines():
            print(f"   {what}{line}")
    is_unmatched = matches.unmatched > 0 and not matches.matched
    return 1 if refusals or reader.refused_labels.counts or is_unmatched or stop.is_set() else 0


def fill(
    spool: Spool, reader: FileReader, sources: Sequence[Source], label_sources: Sequence[Source], stop: threading.Event
) -> None:
    """With what of the files is good."""
    for accepted in reader.transactions(sources):
        spool.add(accepted)
        if stop.is_set():
            return
    for labels in reader.labels(label_sources):
        spool.add_labels(labels)
        if stop.is_set():
            return


def known_ids(reader: TopicReader, topic: str) -> Iterator[list[str]]:
    """The transaction_ids that the topic holds now. Records that have none are no payment."""
    for batch in reader.batches(topic):
        yield [found for record in batch if (found := _id_of(record.value())) is not None]


def _id_of(value: bytes | None) -> str | None:
    try:
        message = orjson.loads(value or b"")
        return read_text(message["transaction_id"], longest=64)
    except (ValueError, TypeError, KeyError):
        return None


def _show_unused(unused: list[str], labels_inside: bool) -> None:
    if unused:
        hint = " (--labels-inside takes is_fraud as the labels)" if "is_fraud" in unused and not labels_inside else ""
        print(f"   not used: {', '.join(unused)}{hint}")


def label_time_of(text: str | None, settings: Settings) -> int | None:
    if text is None:
        return None
    try:
        return parse_time_ms(text, settings.reading_rules.zone)
    except ValueError as error:
        raise InputFileError(f"--label-time: {error}") from error


class Reporter:
    """Shows how far files are read, every now and then."""

    def __init__(self, what: str) -> None:
        self._what, self._shown = what, time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() - self._shown >= _REPORT_EVERY_S:
            self._shown = time.monotonic()
            _show(progress.shown(self._what))


def _show(line: str) -> None:
    print(f"   {line}", end="\r" if sys.stdout.isatty() else "\n", flush=True)


def _created(file: Path, sources: Sequence[Source]) -> TextIO:
    if any(file.exists() and Path(source.path).exists() and file.samefile(source.path) for source in sources):
        raise InputFileError(f"{file} is one of the files that are read: give another one for what is refused")
    try:
        return file.open("w")
    except OSError as error:
        raise InputFileError(f"{file} cannot be written: {error.strerror}") from error


def usable_mapping(name: str | None) -> str | None:
    """The text of a mapping file or preset. InputFileError."""
    try:
        if name is None:
            return None
        RecordMapping.of(text := mapping_text(name))
    except MappingError as error:
        raise InputFileError(f"--map {name}: {error}") from error
    return text


if __name__ == "__main__":
    run(app)
