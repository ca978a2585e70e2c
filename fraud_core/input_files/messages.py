"""What a row of somebody's file means: text and typed values to the messages of the topics.

What the values mean, and whether the result is a valid message, is not decided here: the stream's own reader does that.
"""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import orjson

from fraud_core.payments.times import EARLIEST_MS
from fraud_core.schema import load_schema
from fraud_core.timestamps import format_rfc3339_ms
from fraud_core.topics import FEEDBACK, TRANSACTIONS

TRANSACTION_COLUMNS = tuple(load_schema(TRANSACTIONS.schema)["properties"])
REQUIRED_TRANSACTION_COLUMNS = tuple(load_schema(TRANSACTIONS.schema)["required"])
LABEL_COLUMNS = tuple(load_schema(FEEDBACK.schema)["properties"])
REQUIRED_LABEL_COLUMNS = ("transaction_id", "is_fraud")
DEFAULT_SOURCE = "analyst"
IDS = frozenset(("transaction_id", "user_id", "merchant_id", "device_id"))
NUMBERS = frozenset(("amount", "latitude", "longitude"))


def transaction_message(row: Mapping[str, object]) -> bytes:
    """JSON of a row with some of TRANSACTION_COLUMNS (others are left out). ValueError when it cannot be written."""
    return _json({name: row[name] for name in TRANSACTION_COLUMNS if row.get(name) is not None})


def label_message(row: Mapping[str, object]) -> tuple[bytes, bool]:
    """JSON of a label, and whether the row has the time when it became known; without, label_time means nothing."""
    label_time = row.get("label_time")
    message = {
        "transaction_id": row.get("transaction_id"),
        "is_fraud": row.get("is_fraud"),
        "source": row.get("source") or DEFAULT_SOURCE,
        "label_time": format_rfc3339_ms(EARLIEST_MS) if label_time is None else label_time,
    }
    return _json(message), label_time is not None


def _json(message: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(message, _as_text, orjson.OPT_PASSTHROUGH_DATETIME)
    except TypeError as error:
        raise ValueError(f"not JSON: {error}") from error


def _as_text(value: object) -> str:
    """What the reader takes for the same value: of a column's types JSON lacks dates and decimals."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no type of a message")
