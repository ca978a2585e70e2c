"""Dead letters: a record that could not be scored, with its original bytes, where it was, and why it was refused."""

import base64
from collections.abc import Sequence

import orjson
import polars as pl

from fraud_core.timestamps import format_rfc3339_ms, parse_rfc3339_ms

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

    An original larger than MAX_ORIGINAL_BYTES is left out, with a note in the reason: it would be refused in its turn,
    and can still be read at its position.
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


DEAD_LETTER_COLUMNS = {"partition": pl.Int32, "offset": pl.Int64, "ingest_time_ms": pl.Int64, "kind": pl.String}
"""``partition`` and ``offset`` are the refused record's, so that a repeated dead letter is known as one."""


def decode_dead_letters(values: Sequence[bytes]) -> pl.DataFrame:
    """DEAD_LETTER_COLUMNS of dead letters, in order. ValueError for a message that is none."""
    letters = [orjson.loads(value) for value in values]
    rows = [(e["partition"], e["offset"], parse_rfc3339_ms(e["ingest_time"]), e["kind"]) for e in letters]
    return pl.DataFrame(rows, schema=DEAD_LETTER_COLUMNS, orient="row")


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()
