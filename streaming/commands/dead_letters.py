"""``python -m streaming.commands.dead_letters``: list the records that could not be read, or send them again.

A letter is known by the position of the record it is about, so one that is in the topic twice is one. What is sent
again carries that position in the header ``dead_letter``: sending it and remembering that it was sent are one write, in
Kafka, and whoever sends again reads those headers first. So no letter is sent twice, whatever crashed, unless --again
asks for it. Memory: the positions of the letters, not their bytes.

Exit status: 0 done, 1 some could not be sent, 2 the call is wrong.
"""

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import orjson
import typer
from confluent_kafka import KafkaError, Message, Producer

from fraud_core.settings import Settings
from fraud_io.errors import OperatorError
from fraud_io.kafka.producer import make_producer
from fraud_io.kafka.reader import Record, TopicReader
from streaming.commands.command_line import run

HEADER = "dead_letter"
_FIRST_BYTES = 60
_DELIVERY_TIMEOUT_S = 60
_MAX_BYTES = 100_000_000  # what was in the topic once is not too large for it; the broker has the last word

app = typer.Typer(help="List the dead letters, or send them again.", add_completion=False)

Reason = Annotated[str | None, typer.Option(help="Only those with this text in their kind or reason.")]
At = Annotated[list[str] | None, typer.Option(help="Only the record at PARTITION/OFFSET; may be given repeatedly.")]


@dataclass(frozen=True)
class DeadLetter:
    """``partition`` and ``offset`` are the original's; ``value`` is None when it had none or is too large to repeat."""

    partition: int
    offset: int
    time: str
    kind: str
    reason: str
    key: bytes | None
    value: bytes | None

    @property
    def position(self) -> tuple[int, int]:
        return self.partition, self.offset

    @classmethod
    def of(cls, message: Record) -> "DeadLetter":
        """Raises OperatorError when it is none."""
        try:
            fields = orjson.loads(message.value() or b"")
            key, value = (_bytes(fields[name]) for name in ("key_base64", "value_base64"))
            partition, offset = fields["partition"], fields["offset"]
            return cls(partition, offset, fields["ingest_time"], fields["kind"], fields["reason"], key, value)
        except (ValueError, KeyError, TypeError) as error:
            raise OperatorError(
                f"{message.topic()} partition {message.partition()} offset {message.offset()} is no dead letter of the "
                "stream: something else writes to this topic"
            ) from error

    def to_dict(self) -> dict:
        """For a reader: the first bytes only, with what is not printable escaped."""
        first = None if self.value is None else repr(self.value[:_FIRST_BYTES])[2:-1]
        own = {"partition": self.partition, "offset": self.offset, "time": self.time}
        return {**own, "kind": self.kind, "reason": self.reason, "first_bytes": first}


@app.callback(invoke_without_command=True)
def default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_letters()


@app.command(name="list")
def list_letters(
    reason: Reason = None,
    at: At = None,
    limit: Annotated[int, typer.Option(min=0, help="Show so many, the last ones.")] = 20,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write what is shown to this file.")] = None,
) -> None:
    """Show how many there are of each kind, and the last of them with reason, position and first bytes."""
    counts: Counter[str] = Counter()
    last: dict[tuple[int, int], dict] = {}
    for letter in _selected(Settings(), reason, at):
        counts[letter.kind] += 1
        last[letter.position] = letter.to_dict()
        while len(last) > limit:
            del last[next(iter(last))]
    shown = list(last.values())
    if json_file is not None:
        json_file.write_text(json.dumps({"count": counts.total(), "kinds": counts, "letters": shown}, indent=2) + "\n")
    print(f"{counts.total():,} dead letters" + "".join(f", {kind}: {count:,}" for kind, count in counts.most_common()))
    for one in shown:
        print(f"{one['partition']}/{one['offset']}  {one['time']}  {one['kind']}: {one['reason']}")
        print(f"    {one['first_bytes'] if one['first_bytes'] is not None else '(no bytes in the letter)'}")


@app.command()
def replay(
    reason: Reason = None,
    at: At = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also those that were sent again before.")] = False,
) -> None:
    """Send the original bytes to the transactions topic again, with the original key, into the original partition."""
    if not (reason or at or everything):
        raise typer.BadParameter("say which dead letters: --reason TEXT, --at PARTITION/OFFSET or --all")
    settings = Settings()
    topic = settings.topics.transactions
    positions = {letter.position for letter in _selected(settings, reason, at)}
    done = set() if again else _sent_before(settings, positions)
    failed: list[str] = []
    producer = make_producer({**settings.confluent_kafka(), "message.max.bytes": _MAX_BYTES})
    sent = 0
    for letter in _selected(settings, reason, at):
        position = letter.position
        if position in done or position not in positions:
            continue
        original = _original(settings, letter)
        if original is None:
            failed.append(f"{position[0]}/{position[1]}: its bytes are no longer in {topic}")
            continue
        header: list[tuple[str, str | bytes | None]] = [(HEADER, f"{position[0]}/{position[1]}".encode())]
        _send(producer, topic, original, position[0], header, _report(position, failed))
        sent += 1
    undelivered = producer.flush(_DELIVERY_TIMEOUT_S)
    if undelivered:
        raise OperatorError(
            f"{undelivered} records were not acknowledged by Kafka in {_DELIVERY_TIMEOUT_S} s: try again"
        )
    print(f"{len(positions):,} selected, {len(positions & done):,} sent before, {sent:,} sent, {len(failed):,} failed")
    for line in failed:
        print(f"    {line}")
    if failed:
        raise typer.Exit(1)


def _send(
    producer: Producer,
    topic: str,
    original: tuple[bytes | None, bytes | None],
    partition: int,
    headers: list[tuple[str, str | bytes | None]],
    report: Callable[[KafkaError | None, Message], None],
) -> None:
    key, value = original
    while True:
        try:
            producer.produce(topic, value, key, partition, headers=headers, on_delivery=report)
            producer.poll(0)
            return
        except BufferError:
            producer.poll(0.5)  # the queue is full: wait for the brokers


def _report(position: tuple[int, int], failed: list[str]) -> Callable[[KafkaError | None, Message], None]:
    def report(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(f"{position[0]}/{position[1]}: {error.str()}")

    return report


def _selected(settings: Settings, reason: str | None, at: list[str] | None) -> Iterator[DeadLetter]:
    """The dead letters that were asked for, each once."""
    wanted = {_position(text) for text in at or ()}
    seen: set[tuple[int, int]] = set()
    for message in TopicReader(settings).read(settings.topics.dead_letter):
        letter = DeadLetter.of(message)
        is_wanted = not wanted or letter.position in wanted
        if is_wanted and (reason is None or reason in letter.kind or reason in letter.reason):
            if letter.position not in seen:
                yield letter
            seen.add(letter.position)


def _position(text: str) -> tuple[int, int]:
    partition, _, offset = text.partition("/")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise typer.BadParameter(f"{text} is no position: write PARTITION/OFFSET, as the list shows it")
    return int(partition), int(offset)


def _sent_before(settings: Settings, letters: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Positions named in headers of the topic. What was sent again lies behind the original, in its partition."""
    first: dict[int, int] = {}
    for partition, offset in letters:
        first[partition] = min(offset, first.get(partition, offset))
    reader, topic = TopicReader(settings), settings.topics.transactions
    bounds = reader.bounds(topic)
    ranges = {partition: (first[partition], bounds[partition][1]) for partition in first if partition in bounds}
    named = (dict(message.headers() or ()).get(HEADER) for message in reader.read(topic, ranges))
    return {_position(position.decode()) for position in named if position}


def _original(settings: Settings, letter: DeadLetter) -> tuple[bytes | None, bytes | None] | None:
    """Key and value. A letter without bytes is about a record that is too large or empty: it is read where it was."""
    if letter.value is not None:
        return letter.key, letter.value
    where = {letter.partition: (letter.offset, letter.offset + 1)}
    found = next(TopicReader(settings).read(settings.topics.transactions, where), None)
    return None if found is None else (found.key(), found.value())


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


if __name__ == "__main__":
    run(app)
