"""A file by the ten thousand rows: as columns for checks in bulk, and row by row for what these cannot prove.

What a row's values stand for (``meaning``) is settled here, once for both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from fraud_core.input_files.formats.csv_rows import TextRows, csv_columns, csv_rows
from fraud_core.input_files.formats.json_rows import LOOKED_AT, ObjectRows, json_columns, json_rows, label_rows
from fraud_core.input_files.formats.parquet_rows import TypedRows, parquet_columns, parquet_rows
from fraud_core.input_files.formats.text import beginning_text
from fraud_core.input_files.meaning import Meaning
from fraud_core.input_files.messages import LABEL_COLUMNS
from fraud_core.input_files.sources import Source
from fraud_core.payments.mapping_file import PLAIN, FileShape

_DTYPES = (({str}, pl.String), ({bool}, pl.Boolean), ({int}, pl.Int64), ({int, float}, pl.Float64))
_OF_REFUSED = {"file", "row", "reason", "values"}


class Row(NamedTuple):
    """number : line of a text file, row of a Parquet file, or place of a value in a JSON file; from 1. values : by
    column, as they are meant, or why the row cannot be read. raw : as they stand in the file. origin : file and number
    of the row that was refused before, where it was."""

    number: int
    values: dict[str, Any] | str
    raw: object
    origin: tuple[str, object] | None = None


@dataclass(frozen=True)
class Chunk:
    """numbers : (n,) int64, as of Row. columns : (n, k), the wanted ones that the file has, as they are meant, typed as
    in the file; null in a row that cannot be read, and everywhere when a column mixes types, so that only the rows tell
    what is in it. problems : by index, why a row cannot be read. done : bytes of the file that are read."""

    numbers: np.ndarray
    columns: pl.DataFrame
    problems: dict[int, str]
    done: int
    recoded: int
    _raw: pl.DataFrame | Sequence[object]
    _values: list[dict[str, Any] | str] | None = None
    _origins: list[tuple[str, object] | None] | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def has(self, name: str) -> np.ndarray:
        """Which rows have a value of this column, (n,) bool."""
        if self._values is not None:
            return np.array(
                [isinstance(row, dict) and row.get(name) is not None for row in self._values], dtype=np.bool_
            )
        if name not in self.columns.columns:
            return np.zeros(len(self), dtype=np.bool_)
        return self.columns[name].is_not_null().to_numpy()

    def rows(self, is_wanted: np.ndarray) -> list[Row]:
        """Some of the rows; is_wanted : (n,) bool."""
        at = np.flatnonzero(is_wanted).tolist()
        raw = (
            self._raw.filter(is_wanted).to_dicts()
            if isinstance(self._raw, pl.DataFrame)
            else [self._raw[i] for i in at]
        )
        values = self.columns.filter(is_wanted).to_dicts() if self._values is None else [self._values[i] for i in at]
        origins = self._origins or [None] * len(self)
        return [
            Row(int(self.numbers[index]), self.problems.get(index, meant), given, origins[index])
            for index, meant, given in zip(at, values, raw, strict=True)
        ]


def columns_of(source: Source, shape: FileShape = PLAIN) -> list[str]:
    """Names of the columns; of a JSON file those that its first rows have. A name that comes again has a number behind
    it. InputFileError."""
    kind = _kind(source)
    if kind == "json":
        names = _names_of_objects(source)
    else:
        names = parquet_columns(source) if kind == "parquet" else csv_columns(source, shape)
    return list(dict.fromkeys((*names, *source.constants)))


def _names_of_objects(source: Source) -> list[str]:
    names = json_columns(source)
    if set(names) >= _OF_REFUSED:
        rows = (values for chunk in json_rows(source) for row in chunk.rows if (values := _refused_values(row)))
        return list(dict.fromkeys(name for values in islice(rows, LOOKED_AT) for name in values))
    first = next(row for chunk in json_rows(source) for row in chunk.rows if isinstance(row, dict))
    return list(label_rows(first)[0]) if len(first) == len(names) else names


def _refused_values(row: dict[str, Any] | str) -> dict[str, Any] | None:
    values = row.get("values") if isinstance(row, dict) else None
    return values if isinstance(values, dict) else None


def chunks_of(
    source: Source,
    wanted: Sequence[str],
    required: Sequence[str],
    meaning: Meaning,
    shape: FileShape = PLAIN,
) -> Iterator[Chunk]:
    """All rows of the file, in its order, some ten thousand at a time. required : of the wanted, those without which a
    row is refused. InputFileError."""
    kind = _kind(source)
    is_first = True
    if kind == "json":
        for objects in json_rows(source):
            yield _of_objects(source, objects, wanted, required, meaning, is_first=is_first)
            is_first = False
        return
    for rows in parquet_rows(source, wanted) if kind == "parquet" else csv_rows(source, shape):
        missing = {name: text for name, text in source.constants.items() if name not in rows.columns.columns}
        columns = rows.columns.with_columns(pl.lit(text, pl.String).alias(name) for name, text in missing.items())
        if is_first:
            meaning.look_at(columns)
            is_first = False
        yield _of_columns(rows, columns, wanted, required, meaning)


def _of_columns(
    rows: TextRows | TypedRows, columns: pl.DataFrame, wanted: Sequence[str], required: Sequence[str], meaning: Meaning
) -> Chunk:
    problems: dict[int, str] = {}
    for index, name, reason in rows.problems if isinstance(rows, TypedRows) else ():
        if name in (*required, "label_time"):
            problems[index] = f"{name}: {reason}"
        else:
            meaning.unusable[name] += 1
    meant = meaning.of_columns(columns.select(name for name in wanted if name in columns.columns), required, problems)
    if isinstance(rows, TypedRows) or not rows.unreadable:
        recoded = 0 if isinstance(rows, TypedRows) else rows.recoded
        return Chunk(rows.numbers, meant, problems, rows.done, recoded, columns)
    # Rows that cannot be read stand among the others, in the order of their numbers, and are null.
    bad = rows.unreadable
    numbers = np.concatenate([rows.numbers, [one.number for one in bad]]).astype(np.int64)
    order = np.argsort(numbers, kind="stable")
    place = np.argsort(order)
    reasons = {**problems, **{len(columns) + index: one.reason for index, one in enumerate(bad)}}
    raw = [*columns.to_dicts(), *(one.text for one in bad)]
    nulls = pl.DataFrame(
        {name: pl.repeat(None, len(bad), dtype=dtype, eager=True) for name, dtype in meant.schema.items()}
    )
    return Chunk(
        numbers[order],
        pl.concat([meant, nulls])[order],
        {int(place[index]): reason for index, reason in reasons.items()},
        rows.done,
        rows.recoded,
        [raw[index] for index in order],
    )


def _of_objects(
    source: Source,
    objects: ObjectRows,
    wanted: Sequence[str],
    required: Sequence[str],
    meaning: Meaning,
    *,
    is_first: bool,
) -> Chunk:
    numbers, raw, origins = [], [], []
    for number, row in zip(objects.numbers, objects.rows, strict=True):
        origin = None
        if isinstance(row, dict) and row.keys() >= _OF_REFUSED:
            origin = (str(row["file"]), row["row"])
            row = _refused_values(row) or f"no values: write the columns of the row there ({row['reason']})"
        for part in label_rows(row) if isinstance(row, dict) and wanted == LABEL_COLUMNS else [row]:
            numbers.append(number)
            raw.append({**source.constants, **part} if isinstance(part, dict) else part)
            origins.append(origin)
    if is_first:
        meaning.look_at(_columns(raw, wanted))
    values = [
        meaning.of_row({name: row[name] for name in wanted if name in row}, required) if isinstance(row, dict) else row
        for row in raw
    ]
    rows = [Row(*row) for row in zip(numbers, values, raw, origins, strict=True)]
    return chunk_of_rows(rows, values, wanted, objects.done, objects.recoded)


def _kind(source: Source) -> str:
    if source.beginning().startswith(b"PAR1"):
        return "parquet"
    return "json" if beginning_text(source).lstrip().startswith(("{", "[")) else "csv"


def _columns(rows: Sequence[object], wanted: Sequence[str]) -> pl.DataFrame:
    fields = [row if isinstance(row, dict) else {} for row in rows]
    columns = {name: _column([row.get(name) for row in fields]) for name in wanted}
    if any(column is None for column in columns.values()):
        return pl.DataFrame(dict.fromkeys(wanted, pl.repeat(None, len(rows), dtype=pl.String, eager=True)))
    return pl.DataFrame(columns)


def chunk_of_rows(
    rows: Sequence[Row], values: list[dict[str, Any] | str], wanted: Sequence[str], done: int, recoded: int
) -> Chunk:
    """``rows`` with other values: by column, or why a row cannot be read."""
    problems = {index: row for index, row in enumerate(values) if isinstance(row, str)}
    numbers = np.array([row.number for row in rows], dtype=np.int64)
    raw, origins = [row.raw for row in rows], [row.origin for row in rows]
    return Chunk(numbers, _columns(values, wanted), problems, done, recoded, raw, values, origins)


def _column(values: list[object]) -> pl.Series | None:
    types = set(map(type, values)) - {type(None)}
    dtype = next((dtype for allowed, dtype in _DTYPES if types <= allowed), None)
    if dtype is None:
        return None
    try:
        return pl.Series(values, dtype=dtype, strict=dtype is not pl.Float64)
    except (OverflowError, UnicodeEncodeError, TypeError, pl.exceptions.PolarsError):
        return None  # a number of 20 digits, or bytes that are no UTF-8
