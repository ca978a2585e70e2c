"""Dead letters: a record that could not be scored, with its original bytes, where it was, and why it was refused."""

import base64

import orjson

from fraud_core.timestamps import format_rfc3339_ms

# In base64 this is what a topic with Kafka's default limit (1 MiB a record) takes.
MAX_ORIGINAL_BYTES = 700_000


def encode_dead_letter(
    topic: str,
    partition: int,
    offset: int,
    ingest_time_ms: int,
    kind: str,
    reason: str,
    key: bytes | None,
    value: bytes | None,
) -> tuple[bytes | None, bytes]:
    """Key and JSON bytes (dead_letter.schema.json) of a dead letter.

    An original larger than MAX_ORIGINAL_BYTES is left out, and the reason says so: it would be refused in its turn, and
    is still to be read at its position.
    """
    size = len(key or b"") + len(value or b"")
    if size > MAX_ORIGINAL_BYTES:
        key, value = None, None
        reason += f" (its {size} bytes are too many to be repeated here)"
    return key, orjson.dumps(
        {
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "ingest_time": format_rfc3339_ms(ingest_time_ms),
            "kind": kind,
            "reason": reason,
            "key_base64": _base64(key),
            "value_base64": _base64(value),
        }
    )


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()
