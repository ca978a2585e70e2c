"""What a row of somebody's file means: text and typed values to the messages of the topics, or a reason why not.

Whether the result is a valid message is not decided here: the stream's own check does that.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import orjson

from fraud_core.schema import load_schema
from fraud_core.timestamps import format_rfc3339_ms, parse_rfc3339_ms
from fraud_core.topics import FEEDBACK, TRANSACTIONS

TRANSACTION_COLUMNS = tuple(load_schema(TRANSACTIONS.schema)["properties"])
REQUIRED_TRANSACTION_COLUMNS = tuple(load_schema(TRANSACTIONS.schema)["required"])
LABEL_COLUMNS = tuple(load_schema(FEEDBACK.schema)["properties"])
REQUIRED_LABEL_COLUMNS = ("transaction_id", "is_fraud")
BOOLEANS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}
DEFAULT_SOURCE = "analyst"

_NUMBERS = frozenset(
    name for name, rule in load_schema(TRANSACTIONS.schema)["properties"].items() if "number" in rule.get("type", ())
)
IDS = frozenset(("transaction_id", "user_id", "merchant_id", "device_id"))
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


def transaction_message(row: Mapping[str, object]) -> bytes:
    """JSON of a row with some of TRANSACTION_COLUMNS (others are left out). ValueError when it cannot be written."""
    message = {}
    for name in TRANSACTION_COLUMNS:
        value = row.get(name)
        if value is None:
            continue
        if name in _NUMBERS:
            value = _number(value)
        elif name in IDS:
            value = _id(value)
        elif name == "timestamp":
            value = _timestamp(name, value)
        message[name] = value
    return _json(message)


def label_message(row: Mapping[str, object]) -> tuple[bytes, bool]:
    """JSON of a label, and whether the row has the time when it became known; without, label_time is the epoch."""
    message = {
        "transaction_id": _id(row.get("transaction_id")),
        "is_fraud": _boolean(row.get("is_fraud")),
        "source": row.get("source") or DEFAULT_SOURCE,
    }
    label_time = row.get("label_time")
    message["label_time"] = format_rfc3339_ms(0) if label_time is None else _timestamp("label_time", label_time)
    return _json(message), label_time is not None


def _json(message: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(message)
    except TypeError as error:
        raise ValueError(f"not JSON: {error}") from error


def _number(value: object) -> object:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value)
    return value


def _id(value: object) -> object:
    """Banks number their customers: 4711 is the id "4711"."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _boolean(value: object) -> object:
    if isinstance(value, bool) or value is None:
        return value
    return BOOLEANS.get(str(value).strip().lower(), value)


def _timestamp(name: str, value: object) -> object:
    """RFC 3339 in UTC; a text that is no time is left for the schema to refuse. ValueError without a zone."""
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    elif isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return value
        if moment.tzinfo is not None:
            return format_rfc3339_ms(parse_rfc3339_ms(value))
    elif not isinstance(value, date):
        return value
    raise ValueError(f"{name}: '{value}' has no zone: end it with Z or an offset such as +01:00")
