"""The table of workloads: what is sent for a simulated transaction, and what must become of it."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

from fraud_core.payments.transaction import encode_transaction
from fraud_core.timestamps import DAY_MS, HOUR_MS, SECOND_MS
from fraud_stack.chaos import bad_messages

Fate = Literal["decided", "refused", "either"]
Sent = tuple[bytes | None, Fate]

_LARGE_SHARE = 0.01
_EITHER_SHARE = 0.1
_FUTURES_MS = (HOUR_MS, DAY_MS, 365 * DAY_MS, 7_000 * 365 * DAY_MS)


@dataclass(frozen=True)
class Workload:
    """``messages`` : a transaction that happens now (fields of ``encode_transaction``) to what is sent for it."""

    name: str
    what: str
    messages: Callable[[Random, dict], list[Sent]]


def _at(transaction: dict, shift_ms: int) -> bytes:
    return encode_transaction({**transaction, "event_time_ms": transaction["event_time_ms"] + shift_ms})


def _plain(rng: Random, transaction: dict) -> list[Sent]:
    return [(encode_transaction(transaction), "decided")]


def _duplicates(rng: Random, transaction: dict) -> list[Sent]:
    return _plain(rng, transaction) * (2 if rng.random() < 0.05 else 1)


def _out_of_order(rng: Random, transaction: dict) -> list[Sent]:
    return [(_at(transaction, -rng.randrange(600 * SECOND_MS)), "decided")]


def _skewed_clock(rng: Random, transaction: dict) -> list[Sent]:
    # A user's clock is wrong for all of their payments.
    is_behind = zlib.crc32(transaction["user_id"].encode()) % 2 == 0
    return [(_at(transaction, -HOUR_MS if is_behind else 0), "decided")]


def _future(rng: Random, transaction: dict) -> list[Sent]:
    if rng.random() < 0.1:
        return [(_at(transaction, rng.choice(_FUTURES_MS)), "refused")]
    return _plain(rng, transaction)


def _malformed(rng: Random, transaction: dict) -> list[Sent]:
    draw, good = rng.random(), encode_transaction(transaction)
    fate: Fate
    if draw < _LARGE_SHARE:
        table, fate = bad_messages.LARGE, "refused"
    elif draw < _LARGE_SHARE + _EITHER_SHARE:
        table, fate = bad_messages.EITHER, "either"
    else:
        table, fate = bad_messages.REFUSED, "refused"
    return [(good, "decided"), (rng.choice(list(table.values()))(rng, good), fate)]


WORKLOADS = (
    Workload("plain", "simulated payments as they are", _plain),
    Workload("duplicates", "5 % of the messages are sent twice", _duplicates),
    Workload("out of order", "event times up to ten minutes late, in no order", _out_of_order),
    Workload("clock skew", "every other user's clock is an hour behind", _skewed_clock),
    Workload("future dates", "a tenth lies an hour to 7,000 years ahead", _future),
    Workload("malformed", "beside each payment a message that is not one: see bad_messages", _malformed),
)
