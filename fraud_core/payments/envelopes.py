"""Records that hold no payment as JSON but something around one: recognised, so that the refusal says what cures it."""

import json
import re
from collections.abc import Callable

import orjson

OpenMessage = Callable[[bytes | None], dict[str, object]]
"""The fields of a record's value, as open_message gives them; EnvelopeError when there are none."""

REGISTRY_HEADER = 5  # a zero byte and the schema's id, 4 bytes, big-endian (Confluent's wire format)
_MAGIC = {
    b"Obj\x01": ("Avro file", "the record holds an Avro container file: send each payment as JSON"),
    b"\x1f\x8b": ("compressed", "the value is gzip: let Kafka compress instead (compression.type of the producer)"),
    b"\xff\xfe": ("not UTF-8", "the text is UTF-16: JSON in Kafka is UTF-8"),
    b"\xfe\xff": ("not UTF-8", "the text is UTF-16: JSON in Kafka is UTF-8"),
}
_BINARY = re.compile(rb"[\x00-\x08]")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EnvelopeError(ValueError):
    """``kind`` : a short class to count by. The message says what the record is and what to change."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def open_message(value: bytes | None) -> dict[str, object]:
    """The JSON object of a record's value. EnvelopeError when there is none, or when it is around a payment."""
    if value is None:
        raise EnvelopeError("no value", "the record has no value: a tombstone, as compaction and connectors write them")
    value = value.removeprefix(_BYTE_ORDER_MARK)
    for magic, (kind, text) in _MAGIC.items():
        if value.startswith(magic):
            raise EnvelopeError(kind, text)
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
    refuse_envelope(message)
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


def refuse_envelope(message: dict[str, object]) -> None:
    """EnvelopeError when the fields are those of something around a payment."""
    payload = message.get("payload")
    body = payload if isinstance(payload, dict) else message
    if "op" in body and ("after" in body or "before" in body):
        raise EnvelopeError(
            "Debezium envelope",
            "Debezium envelope: let the connector unwrap it (transform io.debezium.transforms.ExtractNewRecordState)",
        )
    if "schema" in message and "payload" in message:
        raise EnvelopeError(
            "Connect envelope",
            "Kafka Connect's JSON with a schema in each record: set value.converter.schemas.enable=false",
        )
    if "specversion" in message and "data" in message:
        raise EnvelopeError("CloudEvents envelope", "CloudEvents envelope: send what is in its field data")
