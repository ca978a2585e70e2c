"""Rows of a file through the check that the stream applies to its messages: decoded, or refused and counted."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from fraud_core.input_files.errors import InputFileError
from fraud_core.input_files.messages import label_message, transaction_message
from fraud_core.input_files.paths import Row, columns_of, input_files
from fraud_core.input_files.refused import Refused
from fraud_core.labels.known import decode_feedback
from fraud_core.payments.reader import ReadingRules
from fraud_core.payments.refusal import Refusal
from fraud_core.payments.transaction import decode_transactions

Message = TypeVar("Message")


def checked_files(path: Path, required: Sequence[str], known: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The files of ``path``, and their columns that are not ``known``. InputFileError unless all have the required."""
    files, unused = input_files(path), set()
    for file in files:
        columns = columns_of(file)
        missing = [name for name in required if name not in columns]
        if missing:
            raise InputFileError(
                f"{file} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
                f"it has {', '.join(columns)}"
            )
        unused.update(set(columns) - set(known))
    return files, sorted(unused)


def decode_transaction_rows(
    file: Path, rows: Sequence[Row], refused: Refused, *, now_ms: int, rules: ReadingRules
) -> pl.DataFrame:
    """Accepted rows with transaction.COLUMNS; ``offset`` is the number of the row."""
    readable, values = _messages(file, rows, transaction_message, refused)
    numbers = [number for number, _ in readable]
    zeros, now = [0] * len(values), [now_ms] * len(values)
    decoded = decode_transactions(values, zeros, numbers, now, rules)
    _refuse(file, readable, decoded.refusals, refused)
    for names in decoded.ignored.values():
        refused.ignored.update(names)
    return decoded.transactions


def decode_label_rows(
    file: Path, rows: Sequence[Row], refused: Refused, rules: ReadingRules
) -> tuple[pl.DataFrame, list[bool]]:
    """Accepted rows as a frame with labels.LABEL_COLUMNS (``offset`` is the number of the row), and which are dated.

    The label_time of a row that is not dated means nothing.
    """
    readable, messages = _messages(file, rows, label_message, refused)
    values = [value for value, _ in messages]
    numbers = [number for number, _ in readable]
    labels, refusals = decode_feedback(values, [0] * len(values), numbers, rules.zone)
    _refuse(file, readable, refusals, refused)
    bad = {refusal.index for refusal in refusals}
    return labels, [is_dated for index, (_, is_dated) in enumerate(messages) if index not in bad]


def _messages(
    file: Path, rows: Iterable[Row], message_of: Callable[[dict[str, Any]], Message], refused: Refused
) -> tuple[list[Row], list[Message]]:
    """The rows that can be written as a message, and their messages."""
    readable: list[Row] = []
    messages: list[Message] = []
    for number, row in rows:
        try:
            if isinstance(row, str):
                raise ValueError(row)
            messages.append(message_of(row))
            readable.append((number, row))
        except ValueError as error:
            refused.add(file, number, str(error), row)
    return readable, messages


def _refuse(file: Path, rows: Sequence[Row], refusals: Iterable[Refusal], refused: Refused) -> None:
    for refusal in refusals:
        number, row = rows[refusal.index]
        refused.add(file, number, refusal.reason, row)
