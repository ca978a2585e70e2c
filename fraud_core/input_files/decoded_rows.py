"""Rows of files through the check that the stream applies to its messages: decoded, or refused and counted.

Rows that the check in bulk proves good are taken from it, the others go through the stream's own reader: see
``bulk_check``. Every row of a file ends in one of the two.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
import polars as pl

from fraud_core.input_files.bulk_check import proven_labels, proven_transactions
from fraud_core.input_files.chunks import Chunk, Row, chunks_of, columns_of
from fraud_core.input_files.errors import InputFileError
from fraud_core.input_files.mapped import check_columns, mapped_labels, mapped_labels_of_file, mapped_payments
from fraud_core.input_files.meaning import Meaning
from fraud_core.input_files.messages import (
    LABEL_COLUMNS,
    REQUIRED_LABEL_COLUMNS,
    REQUIRED_TRANSACTION_COLUMNS,
    TRANSACTION_COLUMNS,
    label_message,
    transaction_message,
)
from fraud_core.input_files.refused import Refused
from fraud_core.input_files.sources import Source
from fraud_core.labels.known import decode_feedback
from fraud_core.payments.mapping import RecordMapping
from fraud_core.payments.mapping_file import PLAIN, FileShape
from fraud_core.payments.reader import ReadingRules
from fraud_core.payments.refusal import Refusal
from fraud_core.payments.transaction import COLUMNS, OPTIONAL, decode_transactions

Message = TypeVar("Message")

LABELS = {"transaction_id": pl.String, "is_fraud": pl.Boolean, "source": pl.String, "label_time_ms": pl.Int64}
"""Of a label as a file has it; label_time_ms is null where the file gives no time."""
_TRANSACTION = [name for name in COLUMNS if name not in ("partition", "offset", "ingest_time_ms")]
_WITH_LABELS = (*TRANSACTION_COLUMNS, *(name for name in LABEL_COLUMNS if name not in TRANSACTION_COLUMNS))


@dataclass
class FileReader:
    """Reads files as somebody said that they are to be read. What it refuses is in ``refused`` and ``refused_labels``.

    now_ms : no payment is younger. rules : of the stream's reader. decimal_comma : amounts are written 1.234,56.
    label_time_ms : of a label that gives none; None: it has none. labels_inside : payments have their labels as
    columns. progress : called behind each chunk of rows.
    """

    now_ms: int
    rules: ReadingRules
    refused: Refused = field(default_factory=Refused)
    refused_labels: Refused = field(default_factory=Refused)
    decimal_comma: bool = False
    label_time_ms: int | None = None
    labels_inside: bool = False
    progress: Callable[["Progress"], None] = lambda done: None

    def checked(self, sources: Sequence[Source]) -> tuple[tuple[str, ...], list[str]]:
        """Of files of payments: the optional fields that they hold, and the columns that are not used. InputFileError
        when a file lacks what a payment needs."""
        if self.rules.mapping:
            mapping = RecordMapping.of(self.rules.mapping)
            columns = [columns_of(source, mapping.shape) for source in sources]
            for source, names in zip(sources, columns, strict=True):
                check_columns(source, names, mapping)
            if self.labels_inside and not mapping.has_labels:
                raise InputFileError("--labels-inside: the mapping has no section label")
            unused = sorted({name for names in columns for name in names} - mapping.columns)
            return tuple(name for name in OPTIONAL if name in mapping.sources), unused
        known = TRANSACTION_COLUMNS + LABEL_COLUMNS * self.labels_inside
        unused = _checked_columns(sources, REQUIRED_TRANSACTION_COLUMNS, known)
        given = {name for source in sources for name in columns_of(source)}
        if self.labels_inside and "is_fraud" not in given:
            raise InputFileError(f"--labels-inside: {sources[0]} has no column is_fraud")
        return tuple(name for name in OPTIONAL if name in given), unused

    def checked_labels(self, sources: Sequence[Source]) -> tuple[list[Source], list[str]]:
        """Label files, and their columns that are not used. A file of ids alone is a list of frauds: it becomes one
        with is_fraud 1, and needs to say when they became known. InputFileError."""
        if self.rules.mapping and (mapping := RecordMapping.of(self.rules.mapping)).has_label_files:
            given = {name for source in sources for name in columns_of(source, mapping.shape)}
            return list(sources), sorted(given - mapping.columns_of_labels)
        checked = []
        for source in sources:
            columns = columns_of(source)
            if "transaction_id" in columns and "is_fraud" not in columns:
                if "label_time" not in columns and self.label_time_ms is None:
                    raise InputFileError(
                        f"{source} has no column is_fraud, so each of its ids counts as fraud, but nothing says when "
                        "that became known: add a column label_time, or give --label-time 2026-01-31T12:00:00Z"
                    )
                source = replace(source, constants={**source.constants, "is_fraud": "1"})
            checked.append(source)
        return checked, _checked_columns(checked, REQUIRED_LABEL_COLUMNS, LABEL_COLUMNS)

    def transactions(self, sources: Sequence[Source]) -> Iterator["Accepted"]:
        """Of each chunk of rows those that are good, in the order of the files."""
        if self.rules.mapping:
            yield from self._mapped_transactions(sources, RecordMapping.of(self.rules.mapping))
            return
        wanted = _WITH_LABELS if self.labels_inside else TRANSACTION_COLUMNS
        for at, chunk in self._chunks(sources, wanted, REQUIRED_TRANSACTION_COLUMNS, self.refused):
            transactions = _decoded_transactions(at.source, chunk, self.refused, self.now_ms, self.rules)
            labels = pl.DataFrame(schema=LABELS)
            if self.labels_inside:
                is_labelled = np.isin(chunk.numbers, transactions["offset"].to_numpy()) & chunk.has("is_fraud")
                labels = self._labels(at.source, chunk, is_labelled)
            yield Accepted(at.number, transactions, labels)

    def _mapped_transactions(self, sources: Sequence[Source], mapping: RecordMapping) -> Iterator["Accepted"]:
        rules = replace(self.rules, mapping=None)
        for at, chunk in self._chunks(sources, sorted(mapping.columns), (), self.refused, mapping.shape):
            payments = mapped_payments(chunk, mapping, at.number, at.meaning)
            transactions = _decoded_transactions(at.source, payments, self.refused, self.now_ms, rules)
            given = pl.DataFrame(schema=LABELS)
            left_out = np.setdiff1d(chunk.numbers, payments.numbers)
            if self.labels_inside:
                labels = mapped_labels(chunk, mapping, at.number, at.meaning)
                is_refused = np.isin(labels.numbers, payments.numbers) & ~np.isin(
                    labels.numbers, transactions["offset"].to_numpy()
                )
                given = self._labels(at.source, labels, ~is_refused)
                self.refused.labels += len(np.intersect1d(left_out, labels.numbers))
                left_out = np.setdiff1d(left_out, labels.numbers)
            self.refused.left_out += len(left_out)
            yield Accepted(at.number, transactions, given)

    def labels(self, sources: Sequence[Source]) -> Iterator[pl.DataFrame]:
        """Of each chunk of rows the good labels, with LABELS, in the order of the files."""
        mapping = RecordMapping.of(self.rules.mapping) if self.rules.mapping else None
        if mapping and mapping.has_label_files:
            wanted = sorted(mapping.columns_of_labels)
            for at, chunk in self._chunks(sources, wanted, (), self.refused_labels, mapping.shape):
                labels = mapped_labels_of_file(chunk, mapping, at.number, at.meaning)
                self.refused_labels.left_out += len(chunk) - len(labels)
                yield self._labels(at.source, labels, np.ones(len(labels), dtype=np.bool_))
            return
        for at, chunk in self._chunks(sources, LABEL_COLUMNS, REQUIRED_LABEL_COLUMNS, self.refused_labels):
            yield self._labels(at.source, chunk, np.ones(len(chunk), dtype=np.bool_))

    def _labels(self, source: Source, chunk: Chunk, is_wanted: np.ndarray) -> pl.DataFrame:
        labels = _decoded_labels(source, chunk, is_wanted, self.refused_labels, self.rules)
        return labels.with_columns(pl.col("label_time_ms").fill_null(pl.lit(self.label_time_ms, pl.Int64)))

    def _chunks(
        self,
        sources: Sequence[Source],
        wanted: Sequence[str],
        required: Sequence[str],
        refused: Refused,
        shape: FileShape = PLAIN,
    ) -> Iterator[tuple["_At", Chunk]]:
        total, before, rows = sum(source.size for source in sources), 0, 0
        for number, source in enumerate(sources):
            meaning = Meaning(self.decimal_comma)
            for chunk in chunks_of(source, wanted, required, meaning, shape):
                refused.rows += len(chunk)
                refused.recoded += chunk.recoded
                yield _At(number, source, meaning), chunk
                rows += len(chunk)
                self.progress(Progress(rows, before + chunk.done, total))
            before += source.size
            refused.nothing.update(meaning.nothing)
            refused.ignored.update(meaning.unusable)


class Accepted(NamedTuple):
    """file : its place among the files. transactions : transaction.COLUMNS but those of arrival, and offset, the number
    of the row. labels : LABELS, those inside the rows."""

    file: int
    transactions: pl.DataFrame
    labels: pl.DataFrame


class Progress(NamedTuple):
    """rows : that are read. done, total : bytes of all the files, as stored."""

    rows: int
    done: int
    total: int

    def shown(self, what: str) -> str:
        return f"{self.rows:,} {what} read, {100 * self.done // max(self.total, 1)} % of {self.total / 1e6:,.1f} MB"


class _At(NamedTuple):
    number: int
    source: Source
    meaning: Meaning


def _checked_columns(sources: Sequence[Source], required: Sequence[str], known: Sequence[str]) -> list[str]:
    """The columns of all files that are not ``known``. InputFileError unless each file has the required ones, and no
    known one twice."""
    unused: set[str] = set()
    for source in sources:
        columns = columns_of(source)
        missing = [name for name in required if name not in columns]
        if missing:
            raise InputFileError(
                f"{source} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
                f"it has {', '.join(columns)}"
            )
        twice = [name for name in known if f"{name}.1" in columns]
        if twice:
            raise InputFileError(f"{source} has two columns {twice[0]}: rename the one that is not meant")
        unused.update(set(columns) - set(known))
    return sorted(unused)


def _decoded_transactions(
    source: Source, chunk: Chunk, refused: Refused, now_ms: int, rules: ReadingRules
) -> pl.DataFrame:
    proven, is_proven = proven_transactions(chunk.columns, now_ms)
    is_sound = _is_sound(chunk)
    proven, is_proven = proven.filter(is_sound[is_proven]), is_proven & is_sound
    parts = [proven.with_columns(offset=chunk.numbers[is_proven])]
    if not is_proven.all():
        rest = chunk.rows(~is_proven)
        parts.append(decode_transaction_rows(source, rest, refused, now_ms=now_ms, rules=rules))
    return pl.concat(part.select(*_TRANSACTION, "offset") for part in parts).sort("offset", maintain_order=True)


def _decoded_labels(
    source: Source, chunk: Chunk, is_wanted: np.ndarray, refused: Refused, rules: ReadingRules
) -> pl.DataFrame:
    """LABELS and offset of the rows that are wanted, (n,) bool."""
    proven, is_proven_of_wanted = proven_labels(chunk.columns.filter(is_wanted))
    is_sound = _is_sound(chunk)
    proven = proven.filter(is_sound[is_wanted][is_proven_of_wanted])
    is_proven = np.zeros(len(chunk), dtype=np.bool_)
    is_proven[is_wanted] = is_proven_of_wanted
    is_proven &= is_sound
    parts = [proven.with_columns(offset=chunk.numbers[is_proven])]
    is_rest = is_wanted & ~is_proven
    if is_rest.any():
        decoded, dated = decode_label_rows(source, chunk.rows(is_rest), refused, rules)
        time_ms = pl.when(pl.Series(dated, dtype=pl.Boolean)).then(pl.col("label_time_ms"))
        parts.append(decoded.with_columns(label_time_ms=time_ms))
    labels = pl.concat(part.select(*LABELS, "offset") for part in parts)
    return labels.sort("offset", maintain_order=True).drop("offset")


def _is_sound(chunk: Chunk) -> np.ndarray:
    is_sound = np.ones(len(chunk), dtype=np.bool_)
    is_sound[list(chunk.problems)] = False
    return is_sound


def decode_transaction_rows(
    source: Source, rows: Sequence[Row], refused: Refused, *, now_ms: int, rules: ReadingRules
) -> pl.DataFrame:
    """Accepted rows with transaction.COLUMNS; ``offset`` is the number of the row."""
    readable, values = _messages(source, rows, transaction_message, refused)
    numbers = [row.number for row in readable]
    zeros, now = [0] * len(values), [now_ms] * len(values)
    decoded = decode_transactions(values, zeros, numbers, now, rules)
    _refuse(source, readable, decoded.refusals, refused)
    for names in decoded.ignored.values():
        refused.ignored.update(names)
    return decoded.transactions


def decode_label_rows(
    source: Source, rows: Sequence[Row], refused: Refused, rules: ReadingRules
) -> tuple[pl.DataFrame, list[bool]]:
    """Accepted rows as a frame with labels.LABEL_COLUMNS (``offset`` is the number of the row), and which are dated.

    The label_time of a row that is not dated means nothing.
    """
    readable, messages = _messages(source, rows, label_message, refused)
    values = [value for value, _ in messages]
    numbers = [row.number for row in readable]
    labels, refusals = decode_feedback(values, [0] * len(values), numbers, rules.zone)
    _refuse(source, readable, refusals, refused)
    bad = {refusal.index for refusal in refusals}
    return labels, [is_dated for index, (_, is_dated) in enumerate(messages) if index not in bad]


def _messages(
    source: Source, rows: Sequence[Row], message_of: Callable[[dict[str, Any]], Message], refused: Refused
) -> tuple[list[Row], list[Message]]:
    """The rows that can be written as a message, and their messages."""
    readable: list[Row] = []
    messages: list[Message] = []
    for row in rows:
        try:
            if isinstance(row.values, str):
                raise ValueError(row.values)
            messages.append(message_of(row.values))
            readable.append(row)
        except ValueError as error:
            refused.add(source, row, str(error))
    return readable, messages


def _refuse(source: Source, rows: Sequence[Row], refusals: Sequence[Refusal], refused: Refused) -> None:
    for refusal in refusals:
        refused.add(source, rows[refusal.index], refusal.reason)
