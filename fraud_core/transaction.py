"""Transactions as they travel (JSON bytes) and as they are computed with (columns). Nothing of labels or features."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson
import polars as pl

from fraud_core.refusal import Refusal
from fraud_core.schema import explain, validator
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
    "amount_cents": pl.Int64,
    "currency": pl.String,
    "event_time_ms": pl.Int64,
    **OPTIONAL,
}


AMOUNT_CENTS = (pl.col("amount") * 100).round().cast(pl.Int64)
"""Of the feature ``amount``, which is in units of the currency, hundredths again."""


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
    is_valid = validator(TRANSACTIONS.schema).is_valid
    accepted, messages, times, refusals = [], [], [], []
    for index, value in enumerate(values):
        if value is None:
            refusals.append(Refusal.of(index, "no value", "the record has no value"))
            continue
        try:
            message = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            refusals.append(Refusal.of(index, "not JSON", f"not JSON: {error}"))
            continue
        try:
            if not is_valid(message):
                refusals.append(Refusal.of(index, "schema", explain(TRANSACTIONS.schema, message)))
                continue
        except ValueError as error:  # the validator follows nesting less deep than the parser
            refusals.append(Refusal.of(index, "schema", f"cannot be validated: {error}"))
            continue
        try:
            time_ms = parse_rfc3339_ms(message["timestamp"])
        except (ValueError, OverflowError) as error:
            refusals.append(Refusal.of(index, "timestamp", f"timestamp: {error}"))
            continue
        if time_ms > ingest_times_ms[index] + future_tolerance_ms:
            ahead_s = (time_ms - ingest_times_ms[index]) // 1000
            refusals.append(Refusal.of(index, "future", f"timestamp lies {ahead_s} s after the record's arrival"))
            continue
        accepted.append(index)
        messages.append(message)
        times.append(time_ms)

    rows = np.asarray(accepted, dtype=np.int64)
    # Amounts become int64 hundredths here and stay integers: sums are then exact in any order.
    amounts = np.rint(np.asarray([m["amount"] for m in messages], dtype=np.float64) * 100).astype(np.int64)
    columns = {
        "partition": np.asarray(partitions, dtype=np.int32)[rows],
        "offset": np.asarray(offsets, dtype=np.int64)[rows],
        "ingest_time_ms": np.asarray(ingest_times_ms, dtype=np.int64)[rows],
        **{name: [m[name] for m in messages] for name in ("transaction_id", "user_id", "merchant_id")},
        "amount_cents": amounts,
        "currency": [m["currency"] for m in messages],
        "event_time_ms": np.asarray(times, dtype=np.int64),
        **{name: [m.get(name) for m in messages] for name in OPTIONAL},
    }
    return Decoded(pl.DataFrame(columns, schema=COLUMNS, strict=False), rows, refusals)


def encode_transaction(transaction: dict) -> bytes:
    """JSON bytes of one transaction in schema fields, what is None left out.

    ``amount`` may be given as ``amount_cents`` and ``timestamp`` as ``event_time_ms``, as in COLUMNS.
    """
    fields = {name: value for name, value in transaction.items() if value is not None}
    if "amount_cents" in fields:
        fields["amount"] = fields.pop("amount_cents") / 100
    if "event_time_ms" in fields:
        fields["timestamp"] = format_rfc3339_ms(fields.pop("event_time_ms"))
    return orjson.dumps(fields)
