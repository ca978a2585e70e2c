"""What is decoded in one step is what parsing and validating accept, to the same values."""

import json
from random import Random

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fraud_assets_tests.schemas import validator
from fraud_core.schema import decode_plain, load_schema
from fraud_core.topics import TRANSACTIONS
from fraud_stack.chaos.bad_messages import EITHER

FIELDS = tuple(load_schema(TRANSACTIONS.schema)["properties"])
GOOD = {
    "transaction_id": "t-1",
    "user_id": "ü-1",
    "merchant_id": "m-1",
    "amount": 12.34,
    "currency": "EUR",
    "timestamp": "2026-01-31T12:00:00.123+01:00",
    "merchant_category": "grocery",
    "channel": "chip",
    "country": "DE",
    "latitude": 48,
    "longitude": -11.5,
    "device_id": None,
    "type": "refund",
    "outcome": "declined",
    "decline_reason": "05",
    "entry_mode": "keyed",
    "ip_address": None,
    "email": "a@example.org",
}
TEXTS = ["", "x" * 64, "x" * 65, "😀" * 64, "EUR", "EUR\n", "ÉUR", "DE", "DE\n", "online", "label", "\0", "\x7f"]
TIMES = ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z\n", "٢026-01-31T12:00:00Z", "2026-01-31 12:00:00Z", "2026-01-31"]
NUMBERS = [
    0,
    -0.0,
    0.01,
    0.009999999999999999,
    5e-324,
    90,
    90.00000000000001,
    -180,
    1e9,
    1000000000.0000001,
    10**30,
    True,
]
FIELD_VALUES = st.one_of(
    st.sampled_from([*TEXTS, *TIMES, *NUMBERS, None, [], {}]),
    st.text(max_size=5),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**63), 2**63),
)


def accepts_no_more(value: bytes) -> bool:
    """Whether ``value`` was decoded in one step; fails if it ought not to have been, or came out differently."""
    (row,) = decode_plain(TRANSACTIONS.schema, [value])
    if row is None:
        return False
    message = orjson.loads(value)
    assert validator(TRANSACTIONS.schema).is_valid(message), value
    assert row == tuple(message.get(field) for field in FIELDS), value
    return True


@given(
    st.dictionaries(st.sampled_from(FIELDS), FIELD_VALUES, max_size=3), st.sampled_from([(), *((f,) for f in FIELDS)])
)
@example({"currency": "EUR\n"}, ())
@example({"timestamp": "٢026-01-31T12:00:00Z"}, ())
def test_a_message_of_known_fields_is_decoded_in_one_step_exactly_when_it_is_valid(changes, without):
    message = {name: value for name, value in (GOOD | changes).items() if name not in without}
    is_valid = validator(TRANSACTIONS.schema).is_valid(orjson.loads(json.dumps(message)))
    assert accepts_no_more(json.dumps(message).encode()) == is_valid


def test_a_pattern_that_does_not_hold_concerns_its_message_only():
    good, bad = json.dumps(GOOD).encode(), json.dumps(GOOD | {"currency": "euro"}).encode()
    rows = decode_plain(TRANSACTIONS.schema, [good, bad, None, good])
    assert [row is not None for row in rows] == [True, False, False, True]


@pytest.mark.parametrize("field", ["is_fraud", "label", "note"])
def test_a_field_that_the_schema_does_not_name_is_left_to_the_validator(field):
    assert not accepts_no_more(json.dumps(GOOD | {field: 1}).encode())


@pytest.mark.parametrize(
    "text",
    [
        '{"user_id":1,%s',
        '{"user_id":"\\ud800",%s',
        '{"amount":1e999,%s',
        '{"amount":01,%s',
        '{"amount":NaN,%s',
        "%s x",
        "\ufeff%s",
    ],
)
def test_odd_json_is_read_as_the_parser_reads_it(text):
    good = json.dumps(GOOD)
    accepts_no_more((text % (good[1:] if text.startswith("{") else good)).encode())


def test_a_rule_that_is_not_followed_is_not_passed_over(monkeypatch):
    schema = load_schema(TRANSACTIONS.schema)
    schema["properties"]["amount"]["multipleOf"] = 0.01
    monkeypatch.setattr("fraud_core.schema.load_schema", lambda name: schema)
    with pytest.raises(ValueError, match="multipleOf"):
        decode_plain("another.schema.json", [])


def test_flipped_bits_are_read_as_the_parser_reads_them():
    rng, good = Random(3), json.dumps(GOOD).encode()
    decoded = [accepts_no_more(EITHER["flipped bits"](rng, good)) for _ in range(20_000)]
    assert 0 < sum(decoded) < len(decoded)


@given(st.floats(0.01, 1e9), st.integers(0, 25))
def test_numbers_are_the_same_to_the_bit(amount, digits):
    for text in (repr(amount), f"{amount:.{digits}f}", f"{amount:.{digits}e}"):
        accepts_no_more(json.dumps(GOOD).replace("12.34", text).encode())
