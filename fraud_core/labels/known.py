"""Labels: what became known about a transaction, and from when on it may be used."""

from collections.abc import Sequence
from datetime import tzinfo
from functools import partial
from reprlib import repr as quoted  # of a bounded length, however deep the value
from typing import Any

import orjson
import polars as pl

from fraud_core.payments.envelopes import EnvelopeError, OpenMessage, open_message, unwrapped
from fraud_core.payments.reader import read_text
from fraud_core.payments.refusal import Refusal
from fraud_core.payments.times import parse_time_ms
from fraud_core.schema import load_schema
from fraud_core.timestamps import DAY_MS, format_rfc3339_ms
from fraud_core.topics import FEEDBACK

LABEL_COLUMNS = {
    "transaction_id": pl.String,
    "is_fraud": pl.Boolean,
    "source": pl.String,
    "label_time_ms": pl.Int64,
    "partition": pl.Int32,
    "offset": pl.Int64,
}


_RULES = load_schema(FEEDBACK.schema)["properties"]
BOOLEANS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}
"""How files and messages write whether it was fraud, in lower case."""


def decode_feedback(
    values: Sequence[bytes | None],
    partitions: Sequence[int],
    offsets: Sequence[int],
    zone: tzinfo | None = None,
    open_message: OpenMessage = open_message,
) -> tuple[pl.DataFrame, list[Refusal]]:
    """A frame with LABEL_COLUMNS of feedback messages in any usual spelling, and the refused ones by position.

    zone : of a label_time that states none; None: it is refused. open_message : as ReadingRules have it.
    """
    rows, refusals = [], []
    for index, value in enumerate(values):
        try:
            label = _label(unwrapped(open_message(value)), zone)
        except EnvelopeError as error:
            refusals.append(Refusal.of(index, error.kind, str(error)))
        except ValueError as error:
            refusals.append(Refusal.of(index, "schema", str(error)))
        else:
            rows.append((*label, partitions[index], offsets[index]))
    return pl.DataFrame(rows, schema=LABEL_COLUMNS, orient="row"), refusals


def _label(message: dict[str, object], zone: tzinfo | None) -> tuple[str, bool, str, int]:
    """ValueError that names everything wrong with it."""
    read: list[Any] = []
    errors = []
    for name, reader in (
        ("transaction_id", partial(read_text, longest=_RULES["transaction_id"]["maxLength"])),
        ("is_fraud", _is_fraud),
        ("source", partial(read_text, longest=_RULES["source"]["maxLength"])),
        ("label_time", partial(parse_time_ms, zone=zone)),
    ):
        try:
            if message.get(name) in (None, ""):
                raise ValueError("missing")
            read.append(reader(message[name]))
        except ValueError as error:
            errors.append(f"{name}: {error}")
    if errors:
        raise ValueError("; ".join(errors))
    return tuple(read)


def _is_fraud(value: object) -> bool:
    found = BOOLEANS.get(str(value).strip().lower()) if isinstance(value, bool | int | float | str) else None
    if found is None:
        raise ValueError(f"{quoted(value)} is neither true nor false")
    return found


def encode_feedback(transaction_id: str, is_fraud: bool, source: str, label_time_ms: int) -> bytes:
    """JSON bytes of one feedback message."""
    label_time = format_rfc3339_ms(label_time_ms)
    return orjson.dumps(
        {"transaction_id": transaction_id, "is_fraud": is_fraud, "source": source, "label_time": label_time}
    )


def label_transactions(
    transactions: pl.DataFrame, labels: pl.DataFrame, as_of_ms: int, label_delay_days: int
) -> pl.Series:
    """``is_fraud`` (Boolean, null = not known yet) of each transaction, as it was known at ``as_of_ms``.

    The last label with ``label_time <= as_of`` wins. Without one, silence counts as genuine once ``label_delay_days``
    have passed since the event, and as unknown before.
    """
    known = (
        labels.filter(pl.col("label_time_ms") <= as_of_ms)
        .sort("label_time_ms", "partition", "offset")
        .unique("transaction_id", keep="last")
        .select("transaction_id", "is_fraud")
    )
    is_silent_long_enough = pl.col("event_time_ms") + label_delay_days * DAY_MS <= as_of_ms
    return (
        transactions.select("transaction_id", "event_time_ms")
        .join(known, on="transaction_id", how="left", maintain_order="left")
        .select(pl.col("is_fraud").fill_null(pl.when(is_silent_long_enough).then(False)))
        .to_series()
    )
