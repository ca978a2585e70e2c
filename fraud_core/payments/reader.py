"""Reads a payment as its producer wrote it: one meaning in whichever of its usual spellings.

Only a required field can cost a payment its decision. An optional one that cannot be used counts as missing, and is
named. What comes out is what ``transaction.schema.json`` describes.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import tzinfo
from reprlib import repr as quoted  # of a bounded length, however deep the value
from typing import Any, NamedTuple, TypeGuard
from zoneinfo import ZoneInfo

from fraud_core.payments.amounts import PLAIN_NUMBER
from fraud_core.payments.codes import country_code, currency_code
from fraud_core.payments.envelopes import OpenMessage, open_message
from fraud_core.payments.times import parse_time_ms
from fraud_core.payments.unusable import Unusable
from fraud_core.schema import load_schema
from fraud_core.timestamps import format_rfc3339_ms
from fraud_core.topics import TRANSACTIONS

Rule = dict[str, Any]
"""Of a property, in JSON Schema's keywords."""

_SCHEMA = load_schema(TRANSACTIONS.schema)
_RULES: dict[str, Rule] = _SCHEMA["properties"]
_REQUIRED = frozenset(_SCHEMA["required"])
LABELS = ("is_fraud", "label")


@dataclass(frozen=True)
class ReadingRules:
    """What decides, beside a message itself, whether it is accepted and what it means.

    future_tolerance_ms : how far a timestamp may lie ahead of the record's arrival. time_zone : IANA name of the zone
    of a timestamp that states none; None: such a one is refused. open_message : what finds the fields in a record's
    value. mapping : TOML text of a mapping file (mapping_file); None: records hold our own fields.
    """

    future_tolerance_ms: int
    time_zone: str | None = None
    open_message: OpenMessage = field(default=open_message, compare=False, repr=False)
    mapping: str | None = field(default=None, repr=False)

    @property
    def zone(self) -> tzinfo | None:
        return ZoneInfo(self.time_zone) if self.time_zone else None


class UnreadablePaymentError(ValueError):
    """Required fields cannot be read. ``fields`` : which ones; the message says what is wrong with each."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {error}" for name, error in errors.items()))
        self.fields = tuple(errors)


class Payment(NamedTuple):
    """``fields`` : a value for each of the schema's properties, in their order; None where there is none.
    ``ignored`` : optional fields that held something that cannot be used.
    """

    fields: tuple[Any, ...]
    ignored: tuple[str, ...]


def read_payment(message: dict[str, object], zone: tzinfo | None) -> Payment:
    """zone : of a timestamp that states none. Raises UnreadablePaymentError."""
    values: list[Any] = []
    ignored: list[str] = []
    errors = {name: "a label is never part of a payment" for name in LABELS if message.get(name) is not None}
    for name, rule in _RULES.items():
        given = message.get(name)
        value = None
        try:
            if given not in (None, ""):
                if isinstance(given, Unusable):
                    raise ValueError(given.reason)
                value = _READERS[name](given, rule, zone)
            elif name in _REQUIRED:
                raise ValueError("missing" if given is None else "empty")
        except ValueError as error:
            if name in _REQUIRED:
                errors[name] = str(error)
            else:
                ignored.append(name)
        values.append(value)
    if errors:
        raise UnreadablePaymentError(errors)
    return Payment(tuple(values), tuple(ignored))


def read_text(value: object, longest: int) -> str:
    """A text as it is; banks number their customers: 4711 is the id "4711", and so is 4711.0, as pandas writes it.

    ValueError when it is neither, or has more than ``longest`` characters.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not _is_text_or_whole(value):
        raise ValueError(f"{quoted(value)} is neither a text nor a whole number")
    text = str(value)
    if len(text) > longest:
        raise ValueError(f"{quoted(text)} has {len(text)} characters, more than {longest}")
    return text


def _is_text_or_whole(value: object) -> TypeGuard[str | int]:
    """To Python true and false are whole numbers as well."""
    return isinstance(value, str | int) and not isinstance(value, bool)


def _id(value: object, rule: Rule, zone: tzinfo | None) -> str:
    return read_text(value, rule["maxLength"])


def _number(value: object, rule: Rule, zone: tzinfo | None) -> float:
    if isinstance(value, str):
        if not PLAIN_NUMBER.fullmatch(value.strip()):
            hint = ": decimals are separated by a point" if "," in value else ""
            raise ValueError(f"{quoted(value)} is no number{hint}")
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{quoted(value)} is no number")
    if not rule["minimum"] <= value <= rule["maximum"]:
        raise ValueError(f"{value} is not between {rule['minimum']} and {rule['maximum']}")
    return float(value)


def _currency(value: object, rule: Rule, zone: tzinfo | None) -> str:
    found = currency_code(value) if _is_text_or_whole(value) else None
    if found is None:
        raise ValueError(f"{quoted(value)} is no currency: write ISO 4217's letters or number, such as EUR or 978")
    return found


def _country(value: object, rule: Rule, zone: tzinfo | None) -> str:
    found = country_code(value) if _is_text_or_whole(value) else None
    if found is None:
        raise ValueError(f"{quoted(value)} is no country")
    return found


def _timestamp(value: object, rule: Rule, zone: tzinfo | None) -> str:
    return format_rfc3339_ms(parse_time_ms(value, zone))


def _word(value: object, rule: Rule, zone: tzinfo | None) -> str:
    """In lower case; a word that no feature knows stays as a category of its own."""
    text = read_text(value, rule["maxLength"])
    if re.search(rule["pattern"], text, re.ASCII):
        return text
    word = read_text(text.strip().lower(), rule["maxLength"])
    if not word:
        raise ValueError("blank")
    return word


def _outcome(value: object, rule: Rule, zone: tzinfo | None) -> str:
    word = value.strip().lower() if isinstance(value, str) else None
    if word is None or word not in rule["enum"]:
        raise ValueError(f"{quoted(value)} is no outcome")
    return word


def _merchant_category(value: object, rule: Rule, zone: tzinfo | None) -> str:
    """A category code (MCC) has four digits, which a number loses where they begin with 0."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 9999:
        return f"{value:04}"
    return _id(value, rule, zone)


_READERS: dict[str, Callable[[object, Rule, tzinfo | None], str | float]] = {
    "transaction_id": _id,
    "user_id": _id,
    "merchant_id": _id,
    "amount": _number,
    "currency": _currency,
    "timestamp": _timestamp,
    "merchant_category": _merchant_category,
    "channel": _word,
    "country": _country,
    "latitude": _number,
    "longitude": _number,
    "device_id": _id,
    "type": _word,
    "outcome": _outcome,
    "decline_reason": _id,
    "entry_mode": _word,
    "ip_address": _id,
    "email": _id,
}
