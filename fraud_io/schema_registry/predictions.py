"""Predictions in Avro, when FRAUD_PREDICTION_FORMAT asks for it: a way to write them down, nothing more.

What is read back are the JSON bytes that were encoded, to the bit, so no reader of predictions knows the difference.
"""

import io
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, cast

import msgspec

from fraud_core.payments.envelopes import registry_schema_id
from fraud_core.settings import Settings
from fraud_io.schema_registry.messages import opener

SUBJECT = "{topic}-value"  # where a registry's clients look for a topic's schema


def to_avro(predictions: Iterable[bytes], schema_id: int) -> list[bytes]:
    """In a registry's wire format; ``schema_id`` : of prediction_avro_schema there."""
    from fastavro import schemaless_writer

    head, schema = b"\0" + schema_id.to_bytes(4), _parsed()
    values = []
    for prediction in predictions:
        body = io.BytesIO(head)
        body.seek(len(head))
        schemaless_writer(body, schema, msgspec.json.decode(prediction))
        values.append(body.getvalue())
    return values


@cache
def _parsed() -> dict[str, Any]:
    # Here and not above: whoever only reads need not load what computes features.
    from fastavro import parse_schema

    from fraud_core.decisions.prediction_avro import prediction_avro_schema

    return cast(dict[str, Any], parse_schema(prediction_avro_schema()))


def as_json(settings: Settings) -> Callable[[bytes | None], bytes]:
    """What gives the JSON bytes of a record of the topic fraud_predictions, however it was written.

    It raises what an OpenMessage raises.
    """
    open_message = opener(settings)

    def read(value: bytes | None) -> bytes:
        return value or b"" if registry_schema_id(value) is None else msgspec.json.encode(open_message(value))

    return read
