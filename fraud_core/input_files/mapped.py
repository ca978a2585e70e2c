"""Rows in somebody's own columns, as a mapping gives them: payments and labels in ours, or why a row has none."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fraud_core.input_files.chunks import Chunk, Row, chunk_of_rows
from fraud_core.input_files.errors import InputFileError
from fraud_core.input_files.meaning import Meaning
from fraud_core.input_files.messages import (
    LABEL_COLUMNS,
    REQUIRED_LABEL_COLUMNS,
    REQUIRED_TRANSACTION_COLUMNS,
    TRANSACTION_COLUMNS,
)
from fraud_core.payments.mapping import Fields, Record, RecordMapping, RowNumber
from fraud_core.payments.unusable import Unusable


def mapped_payments(chunk: Chunk, mapping: RecordMapping, file: int, meaning: Meaning) -> Chunk:
    """The rows that are payments, and those that cannot be read. file : place of the chunk's among all files."""
    return _mapped(
        chunk, mapping.is_payment, mapping.payments, file, meaning, TRANSACTION_COLUMNS, REQUIRED_TRANSACTION_COLUMNS
    )


def mapped_labels(chunk: Chunk, mapping: RecordMapping, file: int, meaning: Meaning) -> Chunk:
    """The labels in rows beside payments, or in those of payments."""
    return _mapped(
        _readable(chunk), mapping.is_label, mapping.labels, file, meaning, LABEL_COLUMNS, REQUIRED_LABEL_COLUMNS
    )


def mapped_labels_of_file(chunk: Chunk, mapping: RecordMapping, file: int, meaning: Meaning) -> Chunk:
    """The rows of a label file that are labels, and those that cannot be read."""
    read, is_label = mapping.labels_of_file, mapping.is_label_of_file
    return _mapped(chunk, is_label, read, file, meaning, LABEL_COLUMNS, REQUIRED_LABEL_COLUMNS)


def check_columns(source: object, columns: Sequence[str], mapping: RecordMapping) -> None:
    """InputFileError when the mapping does not say where a required field is, or the file has not got what it says."""
    unsaid = [name for name in REQUIRED_TRANSACTION_COLUMNS if name not in mapping.sources]
    if unsaid:
        raise InputFileError(f"the mapping has no rule for {', '.join(unsaid)}, without which there is no payment")
    for name in REQUIRED_TRANSACTION_COLUMNS:
        wanted = mapping.sources[name]
        if wanted and not any(one in columns or one.partition(".")[0] in columns for one in wanted):
            raise InputFileError(
                f"{source} lacks the column {' and '.join(wanted)}, which the mapping reads {name} from; "
                f"it has {', '.join(columns)}"
            )


def _mapped(
    chunk: Chunk,
    is_wanted: Callable[[Record], bool],
    read: Callable[[Sequence[Record], Sequence[RowNumber]], list[Fields]],
    file: int,
    meaning: Meaning,
    wanted: Sequence[str],
    required: Sequence[str],
) -> Chunk:
    rows = [
        row
        for row in chunk.rows(np.ones(len(chunk), dtype=np.bool_))
        if not isinstance(row.values, dict) or is_wanted(row.values)
    ]
    records = [(f"{file}-{row.number}", row.values) for row in rows if isinstance(row.values, dict)]
    fields = iter(read([record for _, record in records], [number for number, _ in records]))
    values = [_usable(next(fields), required, meaning) if isinstance(row.values, dict) else row.values for row in rows]
    return chunk_of_rows(rows, values, wanted, chunk.done, chunk.recoded)


def _usable(fields: Fields, required: Sequence[str], meaning: Meaning) -> dict[str, Any] | str:
    """The fields without what no rule gave a meaning; or what is wrong, where that is required."""
    unusable = {name: value.reason for name, value in fields.items() if isinstance(value, Unusable)}
    if not unusable:
        return fields
    if problems := [f"{name}: {reason}" for name, reason in unusable.items() if name in (*required, "label_time")]:
        return "; ".join(problems)
    meaning.unusable.update(unusable)
    return {name: None if name in unusable else value for name, value in fields.items()}


def _readable(chunk: Chunk) -> Chunk:
    """Without the rows that cannot be read: they are counted as payments."""
    rows: list[Row] = [row for row in chunk.rows(np.ones(len(chunk), dtype=np.bool_)) if isinstance(row.values, dict)]
    return chunk_of_rows(rows, [row.values for row in rows], (), chunk.done, chunk.recoded)
