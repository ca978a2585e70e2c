"""The table of what can be wrong with a message. Each entry makes a bad message from the bytes of a good one."""

from collections.abc import Callable
from random import Random

import orjson

_MEGABYTE = 950_000  # with its other fields still below what Kafka takes
_WRONG = (
    {"amount": "12,50"},
    {"amount": None},
    {"amount": True},
    {"amount": -1e10},
    {"user_id": 7.5},
    {"user_id": ""},
    {"merchant_id": {"id": "m"}},
    {"currency": "euro"},
    {"timestamp": 1_767_225},
    {"timestamp": "2026-02-30T00:00:00Z"},
    {"timestamp": "2026-02-01T00:00:00"},
    {"timestamp": "0001-01-01T00:00:00Z"},
    {"is_fraud": True},
)
_HUGE = (b"1e400", b"-1e400", b"1e300", b"9" * 400)
_NOT_NUMBERS = (b"NaN", b"Infinity", b"-Infinity")
_DEPTHS = (100, 1_000, 100_000)
_NO_OBJECT = (b"", b" ", b"[]", b"42", b'"text"', b"null", b"\0")


def _amount(value: bytes, literal: bytes) -> bytes:
    return orjson.dumps({**orjson.loads(value), "amount": 0}).replace(b'"amount":0', b'"amount":' + literal)


def _without_a_field(rng: Random, value: bytes) -> bytes:
    message = orjson.loads(value)
    del message[rng.choice(("transaction_id", "user_id", "merchant_id", "amount", "currency", "timestamp"))]
    return orjson.dumps(message)


def _flipped(rng: Random, value: bytes) -> bytes:
    changed = bytearray(value)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


# No message of these can be a transaction.
REFUSED: dict[str, Callable[[Random, bytes], bytes | None]] = {
    "truncated JSON": lambda rng, value: value[: rng.randrange(1, len(value))],
    "wrong type or value": lambda rng, value: orjson.dumps({**orjson.loads(value), **rng.choice(_WRONG)}),
    "missing field": _without_a_field,
    "huge number": lambda rng, value: _amount(value, rng.choice(_HUGE)),
    "not a number": lambda rng, value: _amount(value, rng.choice(_NOT_NUMBERS)),
    "deep nesting": lambda rng, value: _amount(value, b"[" * (depth := rng.choice(_DEPTHS)) + b"]" * depth),
    "deep objects": lambda rng, value: _amount(value, b'{"a":' * (depth := rng.choice(_DEPTHS)) + b"1" + b"}" * depth),
    "invalid UTF-8": lambda rng, value: value.replace(b'"user_id":"', b'"user_id":"\xff\xfe\xed\xa0\x80', 1),
    "null value": lambda rng, value: None,
    "no object": lambda rng, value: rng.choice(_NO_OBJECT),
}
# As above, but costly: sent now and then.
LARGE: dict[str, Callable[[Random, bytes], bytes | None]] = {
    "string of a megabyte": lambda rng, value: orjson.dumps({**orjson.loads(value), "merchant_id": "m" * _MEGABYTE}),
    "a megabyte of noise": lambda rng, value: rng.randbytes(_MEGABYTE),
}
# May come out as a transaction, if another one.
EITHER: dict[str, Callable[[Random, bytes], bytes | None]] = {"flipped bits": _flipped}
