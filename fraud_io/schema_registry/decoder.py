"""Turns the bytes behind a schema's id into fields with values as JSON has them, which the reader of payments takes."""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from confluent_kafka.schema_registry.avro import AvroDeserializer

from fraud_core.payments.envelopes import REGISTRY_HEADER, EnvelopeError, open_message
from fraud_core.settings import Settings
from fraud_io.errors import OperatorError
from fraud_io.schema_registry.errors import UnknownSchemaError
from fraud_io.schema_registry.protobuf import ProtobufMessages
from fraud_io.schema_registry.schemas import Schemas


class Decoder:
    """Decodes messages of the registry of ``settings``. Raises as Schemas does."""

    def __init__(self, settings: Settings) -> None:
        self._schemas = Schemas(settings)
        self._avro = AvroDeserializer(self._schemas)
        self._protobuf = ProtobufMessages(self._schemas)

    def decode(self, schema_id: int, value: bytes) -> dict[str, object]:
        """The fields of a value that begins with ``schema_id``. EnvelopeError when it does not fit the schema."""
        kind = self._schemas.get_schema(schema_id).schema_type
        if kind == "JSON":
            # Not held against its schema: what can be used of a payment is for the reader to say.
            return open_message(value[REGISTRY_HEADER:])
        try:
            fields = self._avro(value) if kind == "AVRO" else self._protobuf.decode(schema_id, value)
            if not isinstance(fields, dict):
                raise ValueError(f"its schema is not that of a record, but of one {type(fields).__name__}")
        except (OperatorError, UnknownSchemaError):
            raise
        except Exception as error:  # whatever bytes can make a decoder do
            raise EnvelopeError(
                "schema mismatch",
                f"the value does not fit schema {schema_id} ({kind}), which it names "
                f"({type(error).__name__}: {error}): correct the sender",
            ) from error
        found = ((name, given, _IN_JSON.get(type(given))) for name, given in fields.items())
        return {name: convert(given) if convert else given for name, given, convert in found}


def _text(value: bytes) -> object:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


# A decimal stays exact as a text; a time states its zone where the schema does (timestamp, no local-timestamp).
_IN_JSON: dict[type, Callable[[Any], object]] = {
    Decimal: str,
    UUID: str,
    datetime: datetime.isoformat,
    date: date.isoformat,
    bytes: _text,
}
