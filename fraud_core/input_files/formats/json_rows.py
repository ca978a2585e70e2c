"""Rows of JSON text: an object a line, an array of them, objects over several lines, or ids and their labels."""

import codecs
import json
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

import orjson

from fraud_core.input_files.errors import InputFileError
from fraud_core.input_files.formats.text import TOO_LONG, beginning_text, text_blocks, text_pieces
from fraud_core.input_files.sources import Source

LOOKED_AT = 100  # so many first rows tell which columns there are
_LONGEST_VALUE = 64 * 1024 * 1024  # characters
_ROWS = 10_000
_BETWEEN = " \t\r\n,"


class ObjectRows(NamedTuple):
    """numbers : the line of each row, or its place among the values where these stretch over lines. rows : its columns,
    or why it has none. recoded, done : as of TextRows."""

    numbers: list[int]
    rows: list[dict[str, Any] | str]
    recoded: int
    done: int


def json_columns(source: Source) -> list[str]:
    """Of the first rows."""
    found: list[dict[str, Any]] = []
    for chunk in json_rows(source):
        found += [row for row in chunk.rows if isinstance(row, dict)][:LOOKED_AT]
        if len(found) >= LOOKED_AT:
            break
    if not found:
        raise InputFileError(f"{source} holds no JSON object")
    return list(dict.fromkeys(name for row in found for name in row))


def json_rows(source: Source) -> Iterator[ObjectRows]:
    """All rows in their order. InputFileError when values that stretch over lines are broken off: where the next one
    would begin nobody knows."""
    return _of_lines(source) if _is_one_a_line(beginning_text(source)) else _of_values(source)


def _is_one_a_line(text: str) -> bool:
    lines = [line.strip() for line in text.split("\n")[:20] if line.strip()]
    try:
        return isinstance(_loads(lines[0].encode()), dict)
    except ValueError:
        return len(lines) > 1 and all(line.startswith("{") for line in lines)


def _loads(text: bytes) -> Any:
    """ValueError. NaN, which is no JSON, is what Python and pandas write for nothing."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        if b"NaN" not in text and b"Infinity" not in text:
            raise
        return json.loads(text, parse_constant=lambda name: None)


def _of_lines(source: Source) -> Iterator[ObjectRows]:
    for block in text_blocks(source):
        if block.lines is None:
            yield ObjectRows([block.first], [TOO_LONG], 0, block.done)
            continue
        numbers: list[int] = []
        rows: list[dict[str, Any] | str] = []
        for number, line in enumerate(block.lines.split(b"\n"), start=block.first):
            text = line.strip()
            if not text:
                continue
            numbers.append(number)
            try:
                row = _loads(text)
            except ValueError as error:
                rows.append(f"not JSON: {error}")
            else:
                rows.append(row if isinstance(row, dict) else "not a JSON object")
        yield ObjectRows(numbers, rows, block.recoded, block.done)


def _of_values(source: Source) -> Iterator[ObjectRows]:
    first, rows, done = 1, [], 0
    for value, done in _values(source):
        rows.append(value if isinstance(value, dict) else _id_row(value))
        if len(rows) == _ROWS:
            yield ObjectRows(list(range(first, first + len(rows))), rows, 0, done)
            first, rows = first + len(rows), []
    yield ObjectRows(list(range(first, first + len(rows))), rows, 0, done)


def _id_row(value: object) -> dict[str, Any] | str:
    """An array of ids is a list of those: a row for each."""
    is_id = isinstance(value, str | int) and not isinstance(value, bool)
    return {"transaction_id": value} if is_id else "not a JSON object"


def _values(source: Source) -> Iterator[tuple[Any, int]]:
    """Values one behind the other, or those of an array, each with the bytes of the file that are read."""
    scanner = json.JSONDecoder(parse_constant=lambda name: None)
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_array = beginning_text(source).lstrip().startswith("[")
    text, number, is_open, is_ended, wrong = "", 0, False, False, ""
    for piece, done in chain(text_pieces(source), [(b"", source.size)]):
        try:
            text += decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            raise InputFileError(f"{source} is no UTF-8 behind value {number}: {error}") from error
        at, wrong = 0, ""
        while True:
            while at < len(text) and text[at] in _BETWEEN:
                at += 1
            if at == len(text):
                break
            if is_ended:
                raise InputFileError(f"{source}: something follows the end of its array, which has {number} values")
            if is_array and (not is_open or text[at] == "]"):
                at, is_open, is_ended = at + 1, True, is_open
                continue
            try:
                value, end = scanner.raw_decode(text, at)
            except (ValueError, RecursionError) as error:
                wrong = str(error)
                break
            if end == len(text) and piece:
                break  # a number may go on in the next piece
            at, number = end, number + 1
            yield value, done
        text = text[at:]
        if len(text) > _LONGEST_VALUE:
            raise InputFileError(f"{source}: value {number + 1} is longer than {_LONGEST_VALUE} characters, or no JSON")
    if text or is_array > is_ended:
        raise InputFileError(f"{source} is no JSON from value {number + 1} on: {wrong or 'the array has no end'}")


def label_rows(row: dict[str, Any]) -> list[dict[str, Any]]:
    """What an object of a label file says: one label, or one for each id that it maps to true, false, 1 or 0."""
    if "transaction_id" in row or not all(isinstance(value, bool | int) for value in row.values()):
        return [row]
    return [{"transaction_id": transaction_id, "is_fraud": value} for transaction_id, value in row.items()]
