"""Transactions as they travel (JSON bytes) and as they are computed with (columns). Nothing of labels or features."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import polars as pl

from fraud_core.money import minor_units, minor_units_of, to_major_units, to_minor_units
from fraud_core.payments.envelopes import EnvelopeError, open_message
from fraud_core.payments.reader import Payment, ReadingRules, UnreadablePaymentError, read_payment
from fraud_core.payments.refusal import Refusal
from fraud_core.payments.times import EARLIEST_MS
from fraud_core.schema import decode_plain, load_schema
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
    "amount_minor": pl.Int64,  # in the minor unit of the payment's own currency: see money
    "currency": pl.String,
    "event_time_ms": pl.Int64,
    **OPTIONAL,
}

_FIELDS = tuple(load_schema(TRANSACTIONS.schema)["properties"])
_TIMESTAMP = _FIELDS.index("timestamp")


@dataclass(frozen=True)
class Decoded:
    """``transactions`` has COLUMNS, a row per accepted message; row i came from message ``accepted[i]``.

    ``ignored`` : by row, the optional fields that held something that cannot be used; most rows have none.
    """

    transactions: pl.DataFrame
    accepted: np.ndarray
    refusals: list[Refusal]
    ignored: dict[int, tuple[str, ...]]


def decode_transactions(
    values: Sequence[bytes | None],
    partitions: Sequence[int],
    offsets: Sequence[int],
    ingest_times_ms: Sequence[int],
    rules: ReadingRules,
) -> Decoded:
    """Every message ends up in exactly one of ``transactions`` and ``refusals``.

    A timestamp further ahead of the record's arrival than ``rules`` allow is refused: it would never leave a window.
    """
    latest_ms = (np.asarray(ingest_times_ms, dtype=np.int64) + rules.future_tolerance_ms).tolist()
    accepted: list[int] = []
    messages, times, refusals = [], [], []
    ignored: dict[int, tuple[str, ...]] = {}
    for index, plain in enumerate(decode_plain(TRANSACTIONS.schema, values)):
        time_ms = None if plain is None else _plain_time_ms(plain[_TIMESTAMP])
        if plain is not None and time_ms is not None:
            payment = Payment(plain, ())
        else:
            read = _read(index, values[index], rules)
            if isinstance(read, Refusal):
                refusals.append(read)
                continue
            payment, time_ms = read, parse_rfc3339_ms(read.fields[_TIMESTAMP])
        if time_ms > latest_ms[index]:
            ahead_s = (time_ms - ingest_times_ms[index]) // 1000
            refusals.append(Refusal.of(index, "timestamp", f"timestamp lies {ahead_s} s after the record's arrival"))
            continue
        if payment.ignored:
            ignored[len(accepted)] = payment.ignored
        accepted.append(index)
        messages.append(payment.fields)
        times.append(time_ms)

    rows = np.asarray(accepted, dtype=np.int64)
    fields = dict(zip(_FIELDS, zip(*messages, strict=True) if messages else [()] * len(_FIELDS), strict=True))
    currencies = pl.Series(fields["currency"], dtype=pl.String)
    columns = {
        **fields,
        "partition": np.asarray(partitions, dtype=np.int32)[rows],
        "offset": np.asarray(offsets, dtype=np.int64)[rows],
        "ingest_time_ms": np.asarray(ingest_times_ms, dtype=np.int64)[rows],
        "amount_minor": to_minor_units(fields["amount"], minor_units_of(currencies)),
        "event_time_ms": np.asarray(times, dtype=np.int64),
    }
    frame = pl.DataFrame({name: columns[name] for name in COLUMNS}, schema=COLUMNS, strict=False)
    return Decoded(frame, rows, refusals, ignored)


def _plain_time_ms(text: str) -> int | None:
    """None for a time that RFC 3339 does not allow or that is no payment's: the reader says what is wrong with it."""
    try:
        time_ms = parse_rfc3339_ms(text)
    except (ValueError, OverflowError):
        return None
    return time_ms if time_ms >= EARLIEST_MS else None


def _read(index: int, value: bytes | None, rules: ReadingRules) -> Payment | Refusal:
    """Any message, plain or not; of a plain one the fields are those that decode_plain gives."""
    try:
        return read_payment(open_message(value), rules.zone)
    except EnvelopeError as error:
        return Refusal.of(index, error.kind, str(error))
    except UnreadablePaymentError as error:
        return Refusal.of(index, "timestamp" if error.fields == ("timestamp",) else "schema", str(error))


def encode_transaction(transaction: dict[str, Any]) -> bytes:
    """JSON bytes of one transaction in schema fields, what is None left out.

    ``amount`` may be given as ``amount_minor`` (of ``currency``) and ``timestamp`` as ``event_time_ms``, as in COLUMNS.
    """
    fields = {name: value for name, value in transaction.items() if value is not None}
    if "amount_minor" in fields:
        fields["amount"] = to_major_units(fields.pop("amount_minor"), minor_units(fields["currency"]))
    if "event_time_ms" in fields:
        fields["timestamp"] = format_rfc3339_ms(fields.pop("event_time_ms"))
    return orjson.dumps(fields)
