"""Rows of somebody's CSV, JSON Lines or Parquet files, one after the other, in bounded memory. What they mean is not
decided here: a row is its columns as they stand in the file, or a sentence on why it cannot be read."""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from fraud_core.input_files.errors import InputFileError

if TYPE_CHECKING:
    import _csv

# Line of a text file or row of a Parquet file, from 1; its columns or why it has none.
Row = tuple[int, dict[str, Any] | str]

_LONGEST_LINE = 1024 * 1024  # bytes; Kafka takes no longer message either
_BATCH_ROWS = 5000
_LOOKED_AT = 100  # JSON Lines: so many first lines tell which columns there are


def input_files(path: Path) -> list[Path]:
    """The file itself, or those of a folder (not of folders in it), by name."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith((".", "_")))
        if not files:
            raise InputFileError(f"{path} holds no file: give a CSV, JSON Lines or Parquet file, or a folder of them")
        return files
    if not path.exists():
        raise InputFileError(f"{path} does not exist: give a CSV, JSON Lines or Parquet file, or a folder of them")
    return [path]


def columns_of(file: Path) -> list[str]:
    """Names of the columns; of a JSON Lines file those that its first lines have."""
    if is_parquet(file):
        return list(_parquet(file).schema_arrow.names)
    if _is_json(file):
        first = [row for _, row in islice(_json_rows(file), _LOOKED_AT) if isinstance(row, dict)]
        if not first:
            raise InputFileError(f"{file}: its first {_LOOKED_AT} lines hold no JSON object; one a line is expected")
        return list(dict.fromkeys(name for row in first for name in row))
    with file.open("rb") as stream:
        return _header(stream)[1]


def rows_of(file: Path) -> Iterator[Row]:
    """All rows in their order. An empty CSV field is None."""
    if is_parquet(file):
        return _parquet_rows(file)
    return _json_rows(file) if _is_json(file) else _csv_rows(file)


def _beginning(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(4096)
    except OSError as error:
        raise InputFileError(f"{file} cannot be read: {error.strerror}") from error


def is_parquet(file: Path) -> bool:
    return _beginning(file).startswith(b"PAR1")


def _is_json(file: Path) -> bool:
    text = _beginning(file).removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"["):
        raise InputFileError(f"{file} is a JSON array: write one object a line instead (jq -c '.[]' does it)")
    if not text or b"\0" in text:
        raise InputFileError(f"{file} is {'neither text nor Parquet' if text else 'empty'}")
    return text.startswith(b"{")


def _parquet(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except pa.ArrowException as error:
        raise InputFileError(f"{file} begins like Parquet but cannot be read: {error}") from error


def parquet_batches(file: Path, rows: int) -> Iterator[pa.RecordBatch]:
    batches: Iterator[pa.RecordBatch] = _parquet(file).iter_batches(batch_size=rows)
    return batches


def _parquet_rows(file: Path) -> Iterator[Row]:
    number = 1
    for batch in parquet_batches(file, _BATCH_ROWS):
        for row in plain_rows(batch):
            yield number, row
            number += 1


def plain_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows of a Parquet batch with values of Python's own types."""
    plain = pa.table([_plain(column) for column in batch.columns], names=batch.schema.names)
    rows: list[dict[str, Any]] = plain.to_pylist()
    return rows


def _plain(column: pa.Array) -> pa.Array:
    """Times in microseconds: finer ones would become pandas objects. Zones stay, and a missing one stays missing."""
    if not pa.types.is_timestamp(column.type):
        return column
    return column.cast(pa.timestamp("us", column.type.tz and "UTC"), safe=False)


def _json_rows(file: Path) -> Iterator[Row]:
    with file.open("rb") as stream:
        for number, line in enumerate(_lines(stream), start=1):
            if line is None:
                yield number, f"longer than {_LONGEST_LINE} bytes"
                continue
            text = line.removeprefix(b"\xef\xbb\xbf").strip()
            if not text:
                continue
            try:
                row = orjson.loads(text)
            except orjson.JSONDecodeError as error:
                yield number, f"not JSON: {error}"
                continue
            yield number, row if isinstance(row, dict) else "not a JSON object"


def _csv_rows(file: Path) -> Iterator[Row]:
    with file.open("rb") as stream:
        reader, header = _header(stream)
        while True:
            number = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield number, f"not CSV: {error}"
                continue
            if not fields:
                continue
            if len(fields) != len(header):
                yield number, f"number of fields: {len(fields)}, but the header names {len(header)}"
                continue
            yield number, {name: field or None for name, field in zip(header, fields, strict=True)}


def _header(stream: BinaryIO) -> tuple["_csv.Reader", list[str]]:
    """A reader behind its first line, and the names in that: separated by comma, semicolon or tab."""
    first = stream.readline(_LONGEST_LINE).decode("utf-8-sig", "replace")
    delimiter = max(",;\t", key=first.count)
    stream.seek(0)
    reader = csv.reader(_text(stream), delimiter=delimiter)
    try:
        return reader, [name.strip() for name in next(reader)]
    except csv.Error as error:
        raise InputFileError(f"{stream.name}: its first line is no CSV header: {error}") from error


def _text(stream: BinaryIO) -> Iterator[str]:
    # What is not UTF-8 is kept as surrogates: the row that holds it can then be refused instead of the file.
    for number, line in enumerate(_lines(stream), start=1):
        if line is None:
            raise InputFileError(f"{stream.name}: line {number} is longer than {_LONGEST_LINE} bytes: not a CSV file")
        yield line.decode("utf-8-sig" if number == 1 else "utf-8", "surrogateescape")


def _lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Lines; None for one that is too long to be held."""
    while line := stream.readline(_LONGEST_LINE):
        if line.endswith(b"\n") or len(line) < _LONGEST_LINE:
            yield line
            continue
        while (rest := stream.readline(_LONGEST_LINE)) and not rest.endswith(b"\n"):
            pass
        yield None
