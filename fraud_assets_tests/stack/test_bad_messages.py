"""The bad messages of chaos runs: each is refused with a reason, none stops the batch it comes in."""

from random import Random

import orjson
import pytest

from fraud_core.payments.dead_letter import encode_dead_letter
from fraud_core.payments.reader import ReadingRules
from fraud_core.payments.transaction import Decoded, decode_transactions, encode_transaction
from fraud_core.timestamps import format_rfc3339_ms
from fraud_stack.chaos.bad_messages import EITHER, LARGE, REFUSED

NOW_MS = 1_767_225_600_000
GOOD = encode_transaction(
    {
        "transaction_id": "t1",
        "user_id": "u1",
        "merchant_id": "m1",
        "amount": 12.5,
        "currency": "EUR",
        "timestamp": format_rfc3339_ms(NOW_MS),
        "latitude": 48.1,
        "channel": "chip",
    }
)


def decode(values: list[bytes | None]) -> Decoded:
    n = len(values)
    return decode_transactions(values, [0] * n, list(range(n)), [NOW_MS] * n, ReadingRules(0))


@pytest.mark.parametrize("name", [*REFUSED, *LARGE])
def test_each_kind_of_bad_message_is_refused_with_a_reason_and_fits_the_dead_letter_topic(name):
    rng = Random(1)
    values = [{**REFUSED, **LARGE}[name](rng, GOOD) for _ in range(400 if name in REFUSED else 3)]
    decoded = decode([GOOD, *values, GOOD])
    assert decoded.accepted.tolist() == [0, len(values) + 1]
    assert [refusal.index for refusal in decoded.refusals] == list(range(1, len(values) + 1))
    for refusal in decoded.refusals:
        assert refusal.reason
        _, letter = encode_dead_letter(
            "transactions", 0, 1, NOW_MS, refusal.kind, refusal.reason, b"u1", values[refusal.index - 1]
        )
        assert len(letter) < 1_000_000


def test_flipped_bits_leave_a_transaction_or_a_refusal():
    rng = Random(2)
    values = [EITHER["flipped bits"](rng, GOOD) for _ in range(3000)]
    decoded = decode(values)
    assert len(decoded.accepted) + len(decoded.refusals) == len(values)
    assert 0 < len(decoded.refusals) < len(values)


@pytest.mark.parametrize("depth", [200, 300, 1_000, 2_000, 100_000])
def test_nesting_in_a_field_nobody_knows_stops_nothing(depth):
    value = orjson.dumps({**orjson.loads(GOOD), "x": 0}).replace(b'"x":0', b'"x":' + b"[" * depth + b"]" * depth)
    decoded = decode([GOOD, value])
    assert len(decoded.accepted) + len(decoded.refusals) == 2
    assert decoded.accepted[0] == 0
