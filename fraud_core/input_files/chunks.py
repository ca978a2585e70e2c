"""A file by the ten thousand rows: as raw columns for checks in bulk, and row by row for what these cannot prove."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from fraud_core.input_files.paths import Row, is_parquet, parquet_batches, plain_rows, rows_of

CHUNK_ROWS = 50_000

_DTYPES = (({str}, pl.String), ({bool}, pl.Boolean), ({int}, pl.Int64), ({int, float}, pl.Float64))


@dataclass(frozen=True)
class Chunk:
    """numbers : (n,) int64, line of a text file or row of a Parquet file.

    columns : the wanted columns that the file has, typed as they stand there; null where a row cannot be read, and
        everywhere when a column mixes types, so that only the rows tell what is in it.
    """

    numbers: np.ndarray
    columns: pl.DataFrame
    _source: list[Row] | pa.RecordBatch

    def rows(self, is_wanted: np.ndarray) -> list[Row]:
        """Some of the rows as ``input_files.rows_of`` gives them; is_wanted : (n,) bool."""
        if isinstance(self._source, list):
            return [self._source[index] for index in np.flatnonzero(is_wanted)]
        return list(zip(self.numbers[is_wanted].tolist(), plain_rows(self._source.filter(is_wanted)), strict=True))


def chunks_of(file: Path, wanted: Sequence[str]) -> Iterator[Chunk]:
    """All rows of the file, in its order; at most CHUNK_ROWS rows are held at a time."""
    if is_parquet(file):
        first = 1
        for batch in parquet_batches(file, CHUNK_ROWS):
            kept = batch.select([name for name in wanted if name in batch.schema.names])
            yield Chunk(np.arange(first, first + len(kept)), _plain_text(pl.DataFrame(kept)), kept)
            first += len(kept)
        return
    rows = iter(rows_of(file))
    while chunk := list(islice(rows, CHUNK_ROWS)):
        yield Chunk(np.array([number for number, _ in chunk]), _columns(chunk, wanted), chunk)


def _plain_text(columns: pl.DataFrame) -> pl.DataFrame:
    return columns.with_columns(pl.col(pl.Categorical, pl.Enum, pl.Null).cast(pl.String))


def _columns(rows: list[Row], wanted: Sequence[str]) -> pl.DataFrame:
    fields = [row if isinstance(row, dict) else {} for _, row in rows]
    columns = {name: _column([row.get(name) for row in fields]) for name in wanted}
    if any(column is None for column in columns.values()):
        return pl.DataFrame(dict.fromkeys(wanted, pl.repeat(None, len(rows), dtype=pl.String, eager=True)))
    return pl.DataFrame(columns)


def _column(values: list[object]) -> pl.Series | None:
    types = set(map(type, values)) - {type(None)}
    dtype = next((dtype for allowed, dtype in _DTYPES if types <= allowed), None)
    if dtype is None:
        return None
    try:
        return pl.Series(values, dtype=dtype, strict=dtype is not pl.Float64)
    except (OverflowError, UnicodeEncodeError, TypeError, pl.exceptions.PolarsError):
        return None  # a number of 20 digits, or bytes that are no UTF-8
