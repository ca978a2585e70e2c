"""Transactions as they travel (JSON bytes) and as they are computed with (columns). Nothing of labels or features."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import orjson
import polars as pl

from fraud_core.money import minor_units, minor_units_of, to_major_units, to_minor_units
from fraud_core.payments.envelopes import EnvelopeError, OpenMessage, unwrapped
from fraud_core.payments.mapping import RecordMapping
from fraud_core.payments.reader import Payment, ReadingRules, UnreadablePaymentError, read_payment
from fraud_core.payments.refusal import Refusal
from fraud_core.payments.times import EARLIEST_MS
from fraud_core.schema import convert_plain, decode_plain, load_schema
from fraud_core.timestamps import format_rfc3339_ms, parse_rfc3339_ms
from fraud_core.topics import TRANSACTIONS

OPTIONAL = {
    "merchant_category": pl.String,
    "channel": pl.String,
    "country": pl.String,
    "latitude": pl.Float64,
    "longitude": pl.Float64,
    "device_id": pl.String,
    "type": pl.String,
    "outcome": pl.String,
    "decline_reason": pl.String,
    "entry_mode": pl.String,
    "ip_address": pl.String,
    "email": pl.String,
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
    if rules.mapping is None:
        opened: list[dict[str, Any] | EnvelopeError | None] = [None] * len(values)
        plains = decode_plain(TRANSACTIONS.schema, values)
    else:
        numbers = [f"{partition}-{offset}" for partition, offset in zip(partitions, offsets, strict=True)]
        opened = _mapped(values, numbers, RecordMapping.of(rules.mapping), rules.open_message)
        plains = convert_plain(TRANSACTIONS.schema, [one if isinstance(one, dict) else None for one in opened])
    for index, plain in enumerate(plains):
        time_ms = None if plain is None else _plain_time_ms(plain[_TIMESTAMP])
        if plain is not None and time_ms is not None:
            payment = Payment(plain, ())
        else:
            read = _read(index, values[index] if opened[index] is None else opened[index], rules)
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


def _mapped(
    values: Sequence[bytes | None], numbers: Sequence[str], mapping: RecordMapping, open_message: OpenMessage
) -> list[dict[str, Any] | EnvelopeError | None]:
    """Each message as the mapping gives it; an error says why there is none."""
    opened: list[dict[str, Any] | EnvelopeError | None] = []
    for value in values:
        try:
            record = unwrapped(open_message(value), mapping.envelope)
        except EnvelopeError as error:
            opened.append(error)
        else:
            is_payment = mapping.is_payment(record)
            opened.append(record if is_payment else EnvelopeError("left out", "no payment to the mapping (where)"))
    found = [index for index, one in enumerate(opened) if isinstance(one, dict)]
    records = [cast(dict[str, Any], opened[index]) for index in found]
    for index, message in zip(found, mapping.payments(records, [numbers[index] for index in found]), strict=True):
        opened[index] = message
    return opened


def _read(index: int, message: dict[str, Any] | EnvelopeError | bytes | None, rules: ReadingRules) -> Payment | Refusal:
    """Any message, plain or not; of a plain one the fields are those that decode_plain gives."""
    try:
        if isinstance(message, EnvelopeError):
            raise message
        fields = message if isinstance(message, dict) else unwrapped(rules.open_message(message))
        return read_payment(fields, rules.zone)
    except EnvelopeError as error:
        return Refusal.of(index, error.kind, str(error))
    except UnreadablePaymentError as error:
        kind = "timestamp" if error.fields == ("timestamp",) else "schema"
        return Refusal.of(index, kind, f"{error}{_origins(error.fields, rules.mapping)}")


def _origins(fields: Sequence[str], mapping: str | None) -> str:
    """Which columns the mapping reads them from; nothing without a mapping."""
    sources = RecordMapping.of(mapping).sources if mapping else {}
    read = [f"{name} from {' and '.join(sources[name])}" for name in fields if sources.get(name)]
    return f" (mapping: {', '.join(read)})" if read else ""


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
