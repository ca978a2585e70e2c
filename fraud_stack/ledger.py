"""The ledger of the stream: every record of ``transactions`` ends in one decision, a prediction or a dead letter.

Delivery is at least once, so a decision may be published twice. That is harmless with the same bytes (of the value;
headers hold times and differ) and an error with different ones. What is decided is a *position* (partition, offset): a
transaction_id that was sent twice is two positions and two decisions, and counted on its own.

Memory: 21 bytes a transaction (digest of its decision 8, digest of its id 8, latency 4, state 1), whatever the size of
the records.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import orjson
import xxhash

from fraud_core.settings import Settings
from fraud_core.timestamps import parse_rfc3339_ms
from fraud_core.topics import TopicNames
from fraud_io.errors import OperatorError
from fraud_io.kafka.reader import Record, TopicReader
from fraud_io.schema_registry.predictions import as_json
from fraud_io.stream_start import read_start

_PATIENCE_S = 20.0  # without any new decision for so long, what is still open is lost
_LOOK_AGAIN_S = 0.5
_SHOWN_RANGES = 20
_PRODUCED, _PREDICTED, _REFUSED, _REPEATED, _DIFFERS = (1 << bit for bit in range(5))


@dataclass(frozen=True)
class LostRange:
    """Offsets ``first`` to ``last`` of a partition, both included."""

    partition: int
    first: int
    last: int


@dataclass(frozen=True)
class Ledger:
    """Counts of positions of the transactions topic.

    produced : records it holds from where the stream began to decide; before_start : those before, which are not
    decided. predicted, dead_lettered : those with a prediction, with a dead letter.
    lost : those with neither; ``lost_positions`` are the first of them, at most 20 ranges.
    duplicates : those decided more than once, duplicates_same of them always with the same bytes, duplicates_differing
    not. ids_sent_twice : transaction_ids decided at more than one position.
    labels : records of fraud_feedback.
    latency_ms : p50, p95, p99 and max from the record time of a transaction to that of its first prediction.
    """

    produced: int
    before_start: int
    predicted: int
    dead_lettered: int
    lost: int
    lost_positions: tuple[LostRange, ...]
    duplicates: int
    duplicates_same: int
    duplicates_differing: int
    ids_sent_twice: int
    labels: int
    latency_ms: dict[str, int | None]

    @property
    def is_balanced(self) -> bool:
        return self.lost == self.duplicates_differing == 0 and self.produced == self.predicted + self.dead_lettered

    def to_dict(self) -> dict:
        return {**asdict(self), "is_balanced": self.is_balanced}


class Books:
    """What is known of each position below the ends that the transactions topic had when the books were opened."""

    def __init__(self, ranges: dict[int, tuple[int, int]]) -> None:
        """ranges : first and end offset by partition."""
        self._ranges = ranges
        self._before_start = 0
        sizes = [end - start for start, end in ranges.values()]
        self._first_row = dict(zip(ranges, np.cumsum([0, *sizes]).tolist(), strict=False))
        self._state = np.zeros(sum(sizes), np.uint8)
        self._decision = np.zeros(sum(sizes), np.uint64)
        self._id = np.zeros(sum(sizes), np.uint64)
        self._latency_ms = np.full(sum(sizes), -1, np.int32)

    def add_transaction(self, partition: int, offset: int) -> None:
        row = self._row(partition, offset)
        if row is not None:
            self._state[row] |= _PRODUCED
        elif offset < self._ranges.get(partition, (0, 0))[0]:
            self._before_start += 1

    def add_prediction(self, value: bytes, time_ms: int) -> None:
        """``time_ms``: record time of the prediction."""
        prediction = orjson.loads(value)
        row = self._row(prediction["partition"], prediction["offset"])
        if row is not None and self._decide(row, _PREDICTED, value):
            self._id[row] = xxhash.xxh64_intdigest(prediction["transaction_id"].encode())
            latency_ms = time_ms - parse_rfc3339_ms(prediction["ingest_time"])
            self._latency_ms[row] = min(max(latency_ms, 0), np.iinfo(np.int32).max)

    def add_dead_letter(self, value: bytes) -> None:
        letter = orjson.loads(value)
        row = self._row(letter["partition"], letter["offset"])
        if row is not None:
            self._decide(row, _REFUSED, value)

    @property
    def lost(self) -> int:
        return int(np.count_nonzero(self._is_lost()))

    def close(self, labels: int) -> Ledger:
        """The ledger. Sorts the books in place: nothing can be added afterwards."""
        is_produced = self._has(_PRODUCED)
        repeated = int(np.count_nonzero(self._has(_REPEATED)))
        differing = int(np.count_nonzero(self._has(_DIFFERS)))
        is_lost = self._is_lost()
        return Ledger(
            produced=int(np.count_nonzero(is_produced)),
            before_start=self._before_start,
            predicted=int(np.count_nonzero(self._has(_PREDICTED) & is_produced)),
            dead_lettered=int(np.count_nonzero(self._has(_REFUSED) & is_produced)),
            lost=int(np.count_nonzero(is_lost)),
            lost_positions=tuple(self._ranges_of(is_lost)),
            duplicates=repeated,
            duplicates_same=repeated - differing,
            duplicates_differing=differing,
            ids_sent_twice=self._ids_sent_twice(),
            labels=labels,
            latency_ms=self._latency(),
        )

    def _row(self, partition: int, offset: int) -> int | None:
        """None for a position that is not in these books: older than the topic's beginning, or the next ledger's."""
        start, end = self._ranges.get(partition, (0, 0))
        return self._first_row[partition] + offset - start if start <= offset < end else None

    def _decide(self, row: int, kind: int, value: bytes) -> bool:
        """Enter a decision; whether it is the first one of its position."""
        digest = xxhash.xxh64_intdigest(value)
        is_first = not self._state[row] & (_PREDICTED | _REFUSED)
        if is_first:
            self._decision[row] = digest
        else:
            self._state[row] |= _REPEATED if self._decision[row] == digest else _REPEATED | _DIFFERS
        self._state[row] |= kind
        return is_first

    def _has(self, bit: int) -> np.ndarray:
        return (self._state & bit).astype(np.bool_)

    def _is_lost(self) -> np.ndarray:
        return (self._state & (_PRODUCED | _PREDICTED | _REFUSED)) == _PRODUCED

    def _ranges_of(self, is_lost: np.ndarray) -> Iterator[LostRange]:
        """The first few ranges of offsets that are lost."""
        left = _SHOWN_RANGES
        for partition, (start, end) in self._ranges.items():
            row = self._first_row[partition]
            edges = np.flatnonzero(np.diff(is_lost[row : row + end - start].astype(np.int8), prepend=0, append=0))
            for first, behind in edges.reshape(-1, 2)[:left].tolist():
                yield LostRange(partition, start + first, start + behind - 1)
                left -= 1

    def _ids_sent_twice(self) -> int:
        self._id.sort()
        ids = self._id[np.searchsorted(self._id, 1) :]  # 0: no prediction
        is_same = ids[1:] == ids[:-1]
        return int(np.count_nonzero(is_same & ~np.concatenate([[False], is_same[:-1]]))) if len(ids) > 1 else 0

    def _latency(self) -> dict[str, int | None]:
        self._latency_ms.sort()
        known = self._latency_ms[np.searchsorted(self._latency_ms, 0) :]
        shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
        return {
            name: int(known[int(share * (len(known) - 1))]) if len(known) else None for name, share in shares.items()
        }


def take_ledger(settings: Settings, while_waiting: Callable[[], None] = lambda: None) -> Ledger:
    """Read the four topics from their beginning. The books cover the transactions that are there now; it waits for
    decisions on them as long as any come. ``while_waiting`` is called then, and may raise to end it.

    Raises OperatorError when a topic is missing or holds a record that is not a decision.
    """
    reader, topics = TopicReader(settings), settings.topics
    present = reader.bounds(topics.transactions)
    start = read_start(settings.checkpoint)
    begins = start.decided_from if start else {}
    books = Books({at: (min(max(first, begins.get(at, 0)), end), end) for at, (first, end) in present.items()})
    for message in reader.read(topics.transactions, present):
        books.add_transaction(message.partition(), message.offset())
    begin: dict[str, dict[int, int]] = {topics.predictions: {}, topics.dead_letter: {}}
    read = as_json(settings)
    last_came = time.monotonic()
    while True:
        for topic, behind in begin.items():
            for message in reader.read(topic, reader.beyond(topic, behind)):
                _enter(books, message, topics, read)
                behind[message.partition()] = message.offset() + 1
                last_came = time.monotonic()
        if books.lost == 0 or time.monotonic() - last_came > _PATIENCE_S:
            return books.close(labels=sum(1 for _ in reader.read(topics.feedback)))
        while_waiting()
        time.sleep(_LOOK_AGAIN_S)


def _enter(books: Books, message: Record, topics: TopicNames, read: Callable[[bytes | None], bytes]) -> None:
    try:
        if message.topic() == topics.predictions:
            books.add_prediction(read(message.value()), message.timestamp()[1])
        else:
            books.add_dead_letter(message.value() or b"")
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise OperatorError(
            f"{message.topic()} partition {message.partition()} offset {message.offset()} is not a decision of the "
            f"stream ({type(error).__name__}): another program writes to this topic"
        ) from error


def lines(ledger: Ledger) -> list[str]:
    """The ledger for a reader."""
    latency = ", ".join(f"{name} {value} ms" for name, value in ledger.latency_ms.items())
    lost = ", ".join(f"{r.partition}/{r.first}-{r.last}" for r in ledger.lost_positions)
    return [
        f"{ledger.produced:,} produced = {ledger.predicted:,} predicted + {ledger.dead_lettered:,} dead-lettered",
        *([f"{ledger.before_start:,} before the start: in histories, not decided"] if ledger.before_start else []),
        f"{ledger.lost:,} lost{f' (partition/offsets: {lost}{_more(ledger)})' if lost else ''}",
        f"{ledger.duplicates_differing:,} decided twice with different bytes, {ledger.duplicates_same:,} with the same",
        f"{ledger.ids_sent_twice:,} transaction ids sent twice, {ledger.labels:,} labels",
        f"latency, backlogs included: {latency}",
    ]


def _more(ledger: Ledger) -> str:
    return " …" if sum(r.last - r.first + 1 for r in ledger.lost_positions) < ledger.lost else ""
