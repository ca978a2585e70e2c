"""Dead letters: a record that could not be scored, with its original bytes, where it was, and why it was refused."""

import base64

import orjson

from fraud_core.timestamps import format_rfc3339_ms


def encode_dead_letter(
    topic: str,
    partition: int,
    offset: int,
    ingest_time_ms: int,
    reason: str,
    key: bytes | None,
    value: bytes | None,
) -> bytes:
    """JSON bytes (dead_letter.schema.json). About 4/3 of the size of the original."""
    return orjson.dumps(
        {
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "ingest_time": format_rfc3339_ms(ingest_time_ms),
            "reason": reason,
            "key_base64": _base64(key),
            "value_base64": _base64(value),
        }
    )


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()
