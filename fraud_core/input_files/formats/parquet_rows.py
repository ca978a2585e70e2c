"""Rows of a Parquet file as columns of Python's own kinds of values, and what cannot become one, by row."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fraud_core.input_files.formats.csv_rows import distinct
from fraud_core.input_files.sources import Source

_ROWS = 50_000
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_YEAR_1_S, _YEAR_1990_S, _YEAR_2200_S, _YEAR_10000_S = -62_135_596_800, 631_152_000, 7_258_118_400, 253_402_300_800


class TypedRows(NamedTuple):
    """numbers : (n,) int64, the row, from 1. columns : (n, k). problems : index of a row, name of a
    column, and why its value cannot be read; it is null. done : of the file's size, the share that is read."""

    numbers: np.ndarray
    columns: pl.DataFrame
    problems: list[tuple[int, str, str]]
    done: int


def parquet_columns(source: Source) -> list[str]:
    with source.readable(), source.open() as file:
        return distinct(pq.ParquetFile(file).schema_arrow.names)


def parquet_rows(source: Source, wanted: Sequence[str] | None) -> Iterator[TypedRows]:
    """All rows in their order, at most _ROWS at a time. wanted : columns; None: all."""
    with source.readable(), source.open() as opened:
        # Without pre_buffer a page is read after the other, however large a row group is.
        file = pq.ParquetFile(opened, pre_buffer=False, buffer_size=1 << 20, coerce_int96_timestamp_unit="us")
        names = distinct(file.schema_arrow.names)
        kept = [index for index, name in enumerate(names) if wanted is None or name in wanted]
        utc = {
            file.schema.column(at).path
            for at in range(len(file.schema))
            if file.schema.column(at).physical_type == "INT96"
        }
        total, done = file.metadata.num_rows, 0
        columns = [file.schema_arrow.names[index] for index in kept]
        for batch in file.iter_batches(batch_size=_ROWS, columns=columns):
            problems: list[tuple[int, str, str]] = []
            table = {
                name: _plain(batch.column(index), name, problems, is_utc=name in utc)
                for index, name in enumerate(names[index] for index in kept)
            }
            frame = pl.DataFrame(table) if table else pl.DataFrame()
            numbers = np.arange(done + 1, done + 1 + batch.num_rows)
            done += batch.num_rows
            yield TypedRows(numbers, frame, problems, source.size * done // max(total, 1))


def _plain(column: pa.Array, name: str, problems: list[tuple[int, str, str]], *, is_utc: bool) -> pl.Series:
    if pa.types.is_timestamp(column.type):
        column = _times(column, name, problems, is_utc=is_utc)
    series = pl.Series(name, column)
    if series.dtype in (pl.Categorical, pl.Enum, pl.Null):
        return series.cast(pl.String)
    if series.dtype != pl.Binary:
        return series
    # Text that its writer did not declare as such.
    try:
        return series.cast(pl.String)
    except pl.exceptions.ComputeError:
        texts = [None if value is None else _text(value) for value in series]
        is_lost = pl.Series(texts, dtype=pl.String).is_null() & series.is_not_null()
        problems += [(index, name, "bytes that are no UTF-8") for index in is_lost.arg_true().to_list()]
        return pl.Series(name, texts, dtype=pl.String)


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _times(column: pa.Array, name: str, problems: list[tuple[int, str, str]], *, is_utc: bool) -> pa.Array:
    """In microseconds: finer ones would become pandas objects. Zones stay, and a missing one stays missing, but of
    INT96, in which Spark and Impala write moments, not readings of a clock. Outside of the years 1 to 9999: null."""
    unit, zone = column.type.unit, "UTC" if is_utc or column.type.tz else None
    values = column.cast(pa.int64())
    seconds = values.to_numpy(zero_copy_only=False) / _PER_SECOND[unit]
    with np.errstate(invalid="ignore"):
        is_outside = (seconds < _YEAR_1_S) | (seconds >= _YEAR_10000_S)
    if not is_outside.any():
        return column.cast(pa.timestamp("us", zone), safe=False)
    problems += [(index, name, _unit_of(values[index].as_py(), unit)) for index in np.flatnonzero(is_outside).tolist()]
    kept = pa.array(values.to_pandas(), mask=is_outside | np.asarray(values.is_null()), type=pa.int64())
    return kept.cast(pa.timestamp(unit)).cast(pa.timestamp("us", zone), safe=False)


def _unit_of(value: int, unit: str) -> str:
    likely = [other for other, per_second in _PER_SECOND.items() if _YEAR_1990_S <= value / per_second < _YEAR_2200_S]
    guess = f": it looks like {_NAMES[likely[0]]}" if likely else ""
    return f"{value} in a column of {_NAMES[unit]} lies outside the years 1 to 9999{guess}"
