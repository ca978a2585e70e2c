"""What runs in Spark's Python workers. Imports nothing heavy: each worker loads it before its first row."""

from collections.abc import Iterator

import polars as pl
import pyarrow as pa

from fraud_core.payments.reader import ReadingRules
from fraud_core.payments.transaction import COLUMNS, decode_transactions

_SPARK_TYPES = {pl.Int32: "int", pl.Int64: "bigint", pl.Float64: "double", pl.String: "string"}
_ARROW_TYPES = {pl.Int32: pa.int32(), pl.Int64: pa.int64(), pl.Float64: pa.float64(), pl.String: pa.string()}

_DECODED = {**COLUMNS, "event_date": pl.String, "refusal": pl.String}
SPARK_SCHEMA = ", ".join(f"`{name}` {_SPARK_TYPES[kind]}" for name, kind in _DECODED.items())
_ARROW_SCHEMA = pa.schema([(name, _ARROW_TYPES[kind]) for name, kind in _DECODED.items()])


def decode_batches(batches: Iterator[pa.RecordBatch], rules: ReadingRules) -> Iterator[pa.RecordBatch]:
    """Kafka records (value, partition, offset, ingest_time_ms) to transactions, for DataFrame.mapInArrow.

    Yields SPARK_SCHEMA: a row for each accepted message, with its UTC day as event_date, and for each refused one a row
    that holds nothing but the kind of refusal.
    """
    for batch in batches:
        names = ("value", "partition", "offset", "ingest_time_ms")
        values, partitions, offsets, times_ms = (batch[name].to_pylist() for name in names)
        decoded = decode_transactions(values, partitions, offsets, times_ms, rules)
        days = pl.from_epoch("event_time_ms", time_unit="ms").dt.strftime("%Y-%m-%d")
        accepted = decoded.transactions.with_columns(event_date=days, refusal=pl.lit(None, pl.String))
        refused = pl.DataFrame({"refusal": [refusal.kind for refusal in decoded.refusals]}, {"refusal": pl.String})
        rows = pl.concat([accepted, refused], how="diagonal")
        yield from rows.to_arrow().cast(_ARROW_SCHEMA).combine_chunks().to_batches()
