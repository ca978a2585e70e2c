"""The JSON Schemas of ``fraud_core/schemas``, and the decoder that follows one of them."""

import json
import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

_FOLDER = Path(__file__).parent / "schemas"
_TYPES = {"string": str, "number": float}
_LIMITS = {"minLength": "min_length", "maxLength": "max_length", "minimum": "ge", "maximum": "le"}
# ``not`` names properties that are not to be there: they are not among those that are named.
_KEYWORDS = {"$schema", "title", "description", "type", "required", "properties", "not", "enum", "pattern", *_LIMITS}


def load_schema(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((_FOLDER / name).read_text())
    return schema


def decode_plain(name: str, values: Iterable[bytes | None]) -> list[tuple[Any, ...] | None]:
    """The values of the schema's properties, in their order, of each message that is valid and holds nothing else.

    None for a property that is missing, and for any other message, which may be valid all the same. Parsing and
    validating in one step takes a third of the time of two.
    """
    return _plain(name, msgspec.json.Decoder(_plain_message(name)).decode, values)


def convert_plain(name: str, messages: Iterable[dict[str, Any] | None]) -> list[tuple[Any, ...] | None]:
    """The same of messages that are parsed already; None stays None."""
    message = _plain_message(name)
    return _plain(name, lambda fields: msgspec.convert(fields, message), messages)


def _plain(name: str, decode: Callable[[Any], Any], values: Iterable[Any]) -> list[tuple[Any, ...] | None]:
    rows: list[tuple[Any, ...] | None] = []
    for value in values:
        try:
            rows.append(msgspec.structs.astuple(decode(value)))
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError):
            rows.append(None)
    # Matching distinct texts is cheaper than leaving the patterns to msgspec.
    for at, matches in _patterns(name):
        texts = {row[at] for row in rows if row is not None}
        wrong = {text for text in texts if text is not None and not matches(text)}
        if wrong:
            rows = [None if row is None or row[at] in wrong else row for row in rows]
    return rows


@cache
def _plain_message(name: str) -> type[msgspec.Struct]:
    """A message with all of the schema's rules but the patterns."""
    schema = load_schema(name)
    rules = schema["properties"]
    if unknown := set().union(schema, *rules.values()) - _KEYWORDS:
        raise ValueError(f"{name}: decode_plain does not follow {sorted(unknown)}")
    fields = [
        (field, _type(rule)) if field in schema["required"] else (field, _type(rule), None)
        for field, rule in rules.items()
    ]
    return msgspec.defstruct("Message", fields, kw_only=True, forbid_unknown_fields=True, gc=False)


@cache
def _patterns(name: str) -> list[tuple[int, Callable[[str], object]]]:
    """By position of the field."""
    rules = load_schema(name)["properties"]
    # Python's \d is a digit of any script and its $ also matches before a last newline. JSON Schema's do neither.
    return [
        (at, re.compile(rule["pattern"].removesuffix("$") + r"\Z", re.ASCII).search)
        for at, rule in enumerate(rules.values())
        if "pattern" in rule
    ]


def _type(rule: dict[str, Any]) -> Any:
    """The type of one property as msgspec takes it: a form of ``typing``, which has no static type."""
    if "enum" in rule:
        return Literal[tuple(rule["enum"])]
    kinds = [rule["type"]] if isinstance(rule["type"], str) else rule["type"]
    (kind,) = (_TYPES[kind] for kind in kinds if kind != "null")
    limits = msgspec.Meta(**{_LIMITS[keyword]: rule[keyword] for keyword in _LIMITS.keys() & rule.keys()})
    return Annotated[kind, limits] | None if "null" in kinds else Annotated[kind, limits]
