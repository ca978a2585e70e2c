"""Rows of CSV text, each with its line; every line is part of a row that is read, or refused by its number.

A quote that is never closed costs its own line and no other: see ADR 24.
"""

import csv
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import count
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow import csv as arrow_csv

from fraud_core.input_files.errors import InputFileError
from fraud_core.input_files.formats.text import TOO_LONG, text_blocks
from fraud_core.input_files.sources import Source
from fraud_core.payments.mapping_file import FileShape

_DELIMITERS = ",;\t|"
_MOST_LINES = 100
"""That one row may stretch over: a quote that is not closed by then never will be."""


class Unreadable(NamedTuple):
    """number : line, from 1. text : of the line, as far as it can be shown."""

    number: int
    reason: str
    text: str


class TextRows(NamedTuple):
    """numbers : (n,) int64, the line that each row begins in. columns : (n, k) of String; an empty field is null.
    recoded : lines read as windows-1252. done : bytes of the file that are read."""

    numbers: np.ndarray
    columns: pl.DataFrame
    unreadable: list[Unreadable]
    recoded: int
    done: int


class _Header(NamedTuple):
    names: list[str]
    delimiter: str
    end: int  # its length in bytes
    lines: int


def csv_columns(source: Source, shape: FileShape) -> list[str]:
    return _header(source, _first_lines(source), shape).names


def csv_rows(source: Source, shape: FileShape) -> Iterator[TextRows]:
    """All rows in their order, some ten thousand at a time. Blank lines are no rows."""
    header = _header(source, _first_lines(source), shape)
    rest, rest_first, is_first = b"", 0, True
    done = 0
    for block in text_blocks(source):
        done = block.done
        if block.lines is None:
            if rest:
                yield _careful(rest, rest_first, header, 0, done, is_end=True)[0]
                rest = b""
            yield TextRows(*_nothing(header), [Unreadable(block.first, TOO_LONG, "")], 0, done)
            continue
        lines, first = block.lines, block.first
        if is_first:
            lines, first, is_first = lines[header.end :], first + header.lines, False
        is_sound = block.is_utf8 and not rest
        if rest:
            lines, first, rest = rest + lines, rest_first, b""
        if not lines:
            continue
        together = (_quoted if _needs_care(lines) else _plain)(lines, first, header) if is_sound else None
        if together is not None:
            yield TextRows(*together, block.recoded, done)
            continue
        rows, rest, rest_first = _careful(lines, first, header, block.recoded, done, is_end=False)
        yield rows
    if rest:
        yield _careful(rest, rest_first, header, 0, done, is_end=True)[0]


def _first_lines(source: Source) -> bytes:
    block = next(text_blocks(source))
    if block.lines is None:
        raise InputFileError(f"{source}: line 1 is {TOO_LONG}: not a CSV file")
    return block.lines


def _header(source: Source, lines: bytes, shape: FileShape) -> _Header:
    """Of the first line that is not blank: the delimiter is the one that it has most of outside of quotes."""
    skipped = sum(map(len, lines.splitlines(keepends=True)[: shape.skip_lines]))
    skipped += len(lines[skipped:]) - len(lines[skipped:].lstrip(b"\r\n"))
    texts = _texts(lines[skipped : skipped + 1024 * 1024])
    outside = "".join(texts[0].split('"')[::2])
    delimiter = max(_DELIMITERS, key=outside.count)
    reader = csv.reader(iter(texts), delimiter=delimiter, strict=True)
    try:
        names = next(reader)
    except (csv.Error, StopIteration) as error:
        raise InputFileError(f"{source}: its first line is no CSV header: {error}") from error
    if not shape.header:
        names = [str(number) for number in range(1, len(names) + 1)]
        return _Header(names, delimiter, skipped, lines[:skipped].count(b"\n"))
    end = sum(len(text.encode("utf-8", "surrogateescape")) for text in texts[: reader.line_num])
    return _Header(distinct(names), delimiter, skipped + end, lines[:skipped].count(b"\n") + reader.line_num)


def distinct(names: Sequence[str]) -> list[str]:
    """A name that comes again gets a number, as pandas gives it.

    >>> distinct(["Account", " Amount", "Account"])
    ['Account', 'Amount', 'Account.1']
    """
    given: list[str] = []
    for name in (name.strip() for name in names):
        again = (f"{name}.{number}" for number in count(1))
        given.append(name if name not in given else next(new for new in again if new not in given))
    return given


def _needs_care(lines: bytes) -> bool:
    """Quotes, blank lines, and returns inside of a line."""
    is_blank = lines.startswith((b"\n", b"\r\n")) or b"\n\n" in lines or b"\n\r\n" in lines
    return is_blank or b'"' in lines or lines.count(b"\r") != lines.count(b"\r\n")


def _plain(lines: bytes, first: int, header: _Header) -> tuple[np.ndarray, pl.DataFrame, list[Unreadable]] | None:
    """Without a quote each line is a row. None when they must be read one by one to say what is wrong."""
    odd: list[tuple[int, int, str]] = []

    def note(row: arrow_csv.InvalidRow) -> str:
        odd.append((row.number, row.actual_columns, row.text))
        return "skip"

    try:
        table = arrow_csv.read_csv(
            BytesIO(lines),
            arrow_csv.ReadOptions(column_names=header.names, use_threads=False, block_size=len(lines) + 1),
            arrow_csv.ParseOptions(
                delimiter=header.delimiter, quote_char=False, ignore_empty_lines=False, invalid_row_handler=note
            ),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(header.names, pa.string()), null_values=[""], strings_can_be_null=True
            ),
        )
    except pa.ArrowException:
        return None
    is_row = np.ones(lines.count(b"\n"), dtype=np.bool_)
    is_row[[number - 1 for number, *_ in odd]] = False
    numbers = first + np.flatnonzero(is_row)
    columns = pl.DataFrame(table)
    if len(numbers) != columns.height:
        return None
    unreadable = [Unreadable(first + number - 1, _wrong_number(count, header), text) for number, count, text in odd]
    return numbers, columns, unreadable


def _quoted(lines: bytes, first: int, header: _Header) -> tuple[np.ndarray, pl.DataFrame, list[Unreadable]] | None:
    """Where each line is a good row. None as of _plain."""
    texts = _texts(lines)
    try:
        rows = list(csv.reader(texts, delimiter=header.delimiter, strict=True))
    except csv.Error:
        return None
    if len(rows) != len(texts) or any(len(row) != len(header.names) for row in rows):
        return None
    return first + np.arange(len(rows)), _columns(rows, header), []


def _careful(
    lines: bytes, first: int, header: _Header, recoded: int, done: int, *, is_end: bool
) -> tuple[TextRows, bytes, int]:
    """The rows; and the lines, with the number of the first of them, of one that goes on behind these lines."""
    texts = _texts(lines)
    rows: list[list[str]] = []
    numbers: list[int] = []
    unreadable: list[Unreadable] = []
    at = 0
    while at < len(texts):
        guard = _Lines(texts, at, header)
        number, line = first + at, texts[at].rstrip("\r\n")
        used, fields, reason = 1, [], ""
        if '"' in line:
            reader = csv.reader(guard, delimiter=header.delimiter, strict=True)
            try:
                fields, used = next(reader), reader.line_num
            except csv.Error as error:
                if guard.is_at_end and not is_end and len(texts) - at < _MOST_LINES:
                    break
                is_open = guard.stopped or guard.is_at_end
                reason = "not CSV: a quote opens here and is never closed" if is_open else f"not CSV: {error}"
        elif line:
            fields = line.split(header.delimiter)
        if not reason and fields and len(fields) != len(header.names):
            reason = _wrong_number(len(fields), header)
        if not reason and not _is_utf8(fields):
            reason = "neither UTF-8 nor windows-1252"
        if reason:
            unreadable.append(Unreadable(number, reason, line.encode("utf-8", "replace").decode()))
        elif fields:
            rows.append(fields)
            numbers.append(number)
        at += used
    columns = _columns(rows, header)
    rest = "".join(texts[at:]).encode("utf-8", "surrogateescape")
    return TextRows(np.array(numbers, dtype=np.int64), columns, unreadable, recoded, done), rest, first + at


class _Lines(Iterator[str]):
    """The lines that a row may take. It ends where a row that is still open has taken a line that is a row of its own:
    a quote was opened and not closed there. ``stopped``: it did. ``is_at_end``: there are no more lines."""

    def __init__(self, texts: list[str], at: int, header: _Header) -> None:
        self._texts, self._at, self._begin, self._header = texts, at, at, header
        self.stopped = self.is_at_end = False

    def __next__(self) -> str:
        taken = self._at - self._begin
        last = self._texts[self._at - 1]
        if (taken > 1 and last.count(self._header.delimiter) == len(self._header.names) - 1) or taken >= _MOST_LINES:
            self.stopped = True
        elif self._at >= len(self._texts):
            self.is_at_end = True
        else:
            self._at += 1
            return self._texts[self._at - 1]
        raise StopIteration


def _nothing(header: _Header) -> tuple[np.ndarray, pl.DataFrame]:
    return np.array([], dtype=np.int64), pl.DataFrame(schema=dict.fromkeys(header.names, pl.String))


def _columns(rows: list[list[str]], header: _Header) -> pl.DataFrame:
    return pl.DataFrame(
        dict(zip(header.names, zip(*rows, strict=True), strict=True)) if rows else None,
        schema=dict.fromkeys(header.names, pl.String),
    ).with_columns(pl.all().replace("", None))


def _wrong_number(count: int, header: _Header) -> str:
    return f"number of fields: {count}, but the header names {len(header.names)}"


def _texts(lines: bytes) -> list[str]:
    """With their line breaks. What is no UTF-8 is kept as surrogates."""
    texts = lines.decode("utf-8", "surrogateescape").split("\n")
    return [text + "\n" for text in texts[:-1]] + texts[-1:] * bool(texts[-1])


def _is_utf8(fields: list[str]) -> bool:
    try:
        "".join(fields).encode()
    except UnicodeEncodeError:
        return False
    return True
