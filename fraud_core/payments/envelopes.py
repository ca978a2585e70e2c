"""Records that hold no payment as JSON but something around one: recognised, so that the refusal says what cures it."""

import json
import re
from collections.abc import Callable
from typing import Literal

import orjson

Envelope = Literal["debezium", "connect", "cloudevents"]
OpenMessage = Callable[[bytes | None], dict[str, object]]
"""The object that a record's value holds, as open_message gives it; EnvelopeError when there is none."""

REGISTRY_HEADER = 5  # a zero byte and the schema's id, 4 bytes, big-endian (Confluent's wire format)
_MAGIC = {
    b"Obj\x01": ("Avro file", "the record holds an Avro container file: send each payment as JSON"),
    b"\x1f\x8b": ("compressed", "the value is gzip: let Kafka compress instead (compression.type of the producer)"),
    b"\xff\xfe": ("not UTF-8", "the text is UTF-16: JSON in Kafka is UTF-8"),
    b"\xfe\xff": ("not UTF-8", "the text is UTF-16: JSON in Kafka is UTF-8"),
}
_BINARY = re.compile(rb"[\x00-\x08]")
_OF_ENVELOPES = frozenset(("op", "payload", "specversion"))
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EnvelopeError(ValueError):
    """``kind`` : a short class to count by. The message says what the record is and what to change."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def open_message(value: bytes | None) -> dict[str, object]:
    """The JSON object of a record's value. EnvelopeError when there is none."""
    if value is None:
        raise EnvelopeError("no value", "the record has no value: a tombstone, as compaction and connectors write them")
    value = value.removeprefix(_BYTE_ORDER_MARK)
    if value.startswith(tuple(_MAGIC)):
        raise EnvelopeError(*next(found for magic, found in _MAGIC.items() if value.startswith(magic)))
    if (schema_id := registry_schema_id(value)) is not None:
        raise EnvelopeError(
            "schema registry",
            f"schema registry wire format, schema {schema_id}: set FRAUD_SCHEMA_REGISTRY_URL to the address of the "
            "registry, or use a JSON serializer without one for this topic",
        )
    message = _parse(value)
    if isinstance(message, str) and message.lstrip().startswith("{"):
        raise EnvelopeError("encoded twice", "the value is a JSON text that holds JSON: serialize the payment once")
    if not isinstance(message, dict):
        raise EnvelopeError("schema", f"a {type(message).__name__} where the object of one payment was expected")
    return message


def registry_schema_id(value: bytes | None) -> int | None:
    """The schema that a value in a registry's wire format names; None for any other value."""
    if value is None or not value.startswith(b"\0") or len(value) <= REGISTRY_HEADER:
        return None
    return int.from_bytes(value[1:REGISTRY_HEADER])


def _parse(value: bytes) -> object:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        refused = EnvelopeError("not JSON", f"not JSON: {error}{_hint(value)}")
    try:  # Python's own serializer writes NaN, which JSON does not know
        message = json.loads(value.decode(), parse_constant=lambda _: None)
        orjson.dumps(message)  # its parser takes half of a surrogate pair for a character, which nothing behind it does
    except (ValueError, TypeError, RecursionError):
        raise refused from None
    return message


def _hint(value: bytes) -> str:
    """Newer serializers can be told to put the schema's id into a record header: what is left are bare bytes."""
    if not _BINARY.search(value):
        return ""
    return (
        "; Avro and Protobuf are read when the value begins with their schema's id, as serializers of a registry write "
        "it by default: an id in a record header (HeaderSchemaIdSerializer) is not looked for"
    )


def unwrapped(message: dict[str, object], envelope: Envelope | None = None) -> dict[str, object]:
    """The payment in what ``envelope`` says is around it; without one the message itself.

    EnvelopeError when something else is around a payment.
    """
    return _UNWRAP[envelope](message) if envelope else _plain(message)


def _plain(message: dict[str, object]) -> dict[str, object]:
    if _OF_ENVELOPES.isdisjoint(message):
        return message
    if _is_debezium(message):
        raise EnvelopeError(
            "Debezium envelope",
            "Debezium envelope: let the connector unwrap it (transform io.debezium.transforms.ExtractNewRecordState), "
            'or write envelope = "debezium" in a mapping (FRAUD_MAPPING)',
        )
    if "schema" in message and "payload" in message:
        raise EnvelopeError(
            "Connect envelope",
            "Kafka Connect's JSON with a schema in each record: set value.converter.schemas.enable=false, or write "
            'envelope = "connect" in a mapping (FRAUD_MAPPING)',
        )
    if "specversion" in message and "data" in message:
        raise EnvelopeError(
            "CloudEvents envelope",
            'CloudEvents envelope: send what is in its field data, or write envelope = "cloudevents" in a mapping '
            "(FRAUD_MAPPING)",
        )
    return message


def _is_debezium(message: dict[str, object]) -> bool:
    body = _payload(message)
    return "op" in body and ("after" in body or "before" in body)


def _payload(message: dict[str, object]) -> dict[str, object]:
    payload = message.get("payload")
    return payload if isinstance(payload, dict) else message


def _of_debezium(message: dict[str, object]) -> dict[str, object]:
    """The row after the change."""
    if not _is_debezium(message):
        raise EnvelopeError("schema", "no Debezium envelope, which the mapping says is around each payment")
    row = _payload(message).get("after")
    if not isinstance(row, dict):
        raise EnvelopeError("no value", "Debezium's record of a row that was deleted: no payment")
    return row


def _of_connect(message: dict[str, object]) -> dict[str, object]:
    row = message.get("payload")
    if not isinstance(row, dict):
        raise EnvelopeError("schema", "no payload, which the mapping says is around each payment")
    return row


def _of_cloudevents(message: dict[str, object]) -> dict[str, object]:
    data = message.get("data")
    if not isinstance(data, dict):
        raise EnvelopeError("schema", "no object in data, where the mapping says each payment is")
    return data


_UNWRAP: dict[Envelope, Callable[[dict[str, object]], dict[str, object]]] = {
    "debezium": _of_debezium,
    "connect": _of_connect,
    "cloudevents": _of_cloudevents,
}
