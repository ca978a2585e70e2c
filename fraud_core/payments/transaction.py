"""Transactions as they travel (JSON bytes) and as they are computed with (columns). Nothing of labels or features."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import polars as pl

from fraud_core.payments.money import to_major_units, to_minor_units
from fraud_core.payments.refusal import Refusal
from fraud_core.schema import decode_plain, explain, load_schema, validator
from fraud_core.timestamps import format_rfc3339_ms, parse_rfc3339_ms
from fraud_core.topics import TRANSACTIONS

OPTIONAL = {
    "merchant_category": pl.String,
    "channel": pl.String,
    "country": pl.String,
    "latitude": pl.Float64,
    "longitude": pl.Float64,
    "device_id": pl.String,
}
COLUMNS = {
    "partition": pl.Int32,
    "offset": pl.Int64,
    "ingest_time_ms": pl.Int64,
    "transaction_id": pl.String,
    "user_id": pl.String,
    "merchant_id": pl.String,
    "amount_cents": pl.Int64,  # see money
    "currency": pl.String,
    "event_time_ms": pl.Int64,
    **OPTIONAL,
}

_FIELDS = tuple(load_schema(TRANSACTIONS.schema)["properties"])
_TIMESTAMP = _FIELDS.index("timestamp")


@dataclass(frozen=True)
class Decoded:
    """``transactions`` has COLUMNS, a row per accepted message; row i came from message ``accepted[i]``."""

    transactions: pl.DataFrame
    accepted: np.ndarray
    refusals: list[Refusal]


def decode_transactions(
    values: Sequence[bytes | None],
    partitions: Sequence[int],
    offsets: Sequence[int],
    ingest_times_ms: Sequence[int],
    *,
    future_tolerance_ms: int,
) -> Decoded:
    """Parse and validate messages. Every message ends up in exactly one of ``transactions`` and ``refusals``.

    Event time more than ``future_tolerance_ms`` ahead of ingest time is refused: it would never leave a window.
    """
    latest_ms = (np.asarray(ingest_times_ms, dtype=np.int64) + future_tolerance_ms).tolist()
    accepted, messages, times, refusals = [], [], [], []
    for index, row in enumerate(decode_plain(TRANSACTIONS.schema, values)):
        message = _checked(index, values[index]) if row is None else row
        if isinstance(message, Refusal):
            refusals.append(message)
            continue
        try:
            time_ms = parse_rfc3339_ms(message[_TIMESTAMP])
        except (ValueError, OverflowError) as error:
            refusals.append(Refusal.of(index, "timestamp", f"timestamp: {error}"))
            continue
        if time_ms > latest_ms[index]:
            ahead_s = (time_ms - ingest_times_ms[index]) // 1000
            refusals.append(Refusal.of(index, "future", f"timestamp lies {ahead_s} s after the record's arrival"))
            continue
        accepted.append(index)
        messages.append(message)
        times.append(time_ms)

    rows = np.asarray(accepted, dtype=np.int64)
    fields = dict(zip(_FIELDS, zip(*messages, strict=True) if messages else [()] * len(_FIELDS), strict=True))
    columns = {
        **fields,
        "partition": np.asarray(partitions, dtype=np.int32)[rows],
        "offset": np.asarray(offsets, dtype=np.int64)[rows],
        "ingest_time_ms": np.asarray(ingest_times_ms, dtype=np.int64)[rows],
        "amount_cents": to_minor_units(fields["amount"]),
        "event_time_ms": np.asarray(times, dtype=np.int64),
    }
    frame = pl.DataFrame({name: columns[name] for name in COLUMNS}, schema=COLUMNS, strict=False)
    return Decoded(frame, rows, refusals)


def _checked(index: int, value: bytes | None) -> tuple[Any, ...] | Refusal:
    """The fields of any message that is valid, as decode_plain gives them, or why it is refused."""
    if value is None:
        return Refusal.of(index, "no value", "the record has no value")
    try:
        message = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return Refusal.of(index, "not JSON", f"not JSON: {error}")
    try:
        if not validator(TRANSACTIONS.schema).is_valid(message):
            return Refusal.of(index, "schema", explain(TRANSACTIONS.schema, message))
    except ValueError as error:  # the validator follows nesting less deep than the parser
        return Refusal.of(index, "schema", f"cannot be validated: {error}")
    return tuple(message.get(field) for field in _FIELDS)


def encode_transaction(transaction: dict[str, Any]) -> bytes:
    """JSON bytes of one transaction in schema fields, what is None left out.

    ``amount`` may be given as ``amount_cents`` and ``timestamp`` as ``event_time_ms``, as in COLUMNS.
    """
    fields = {name: value for name, value in transaction.items() if value is not None}
    if "amount_cents" in fields:
        fields["amount"] = to_major_units(fields.pop("amount_cents"))
    if "event_time_ms" in fields:
        fields["timestamp"] = format_rfc3339_ms(fields.pop("event_time_ms"))
    return orjson.dumps(fields)
