"""Validation: every message is either a row or a refusal with a reason; nothing stops the batch."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_core.payments.transaction import COLUMNS, Decoded, decode_transactions, encode_transaction
from fraud_core.timestamps import format_rfc3339_ms, parse_rfc3339_ms

GOOD = {
    "transaction_id": "t-1",
    "user_id": "u-1",
    "merchant_id": "m-1",
    "amount": 12.34,
    "currency": "EUR",
    "timestamp": "2026-01-31T12:00:00.123+01:00",
}
ARRIVED_MS = parse_rfc3339_ms("2026-01-31T11:00:01Z")


def decode(*values: bytes | None) -> Decoded:
    n = len(values)
    return decode_transactions(values, [0] * n, range(n), [ARRIVED_MS] * n, future_tolerance_ms=300_000)


def test_the_six_required_fields_are_enough():
    decoded = decode(json.dumps(GOOD).encode())
    assert decoded.refusals == []
    (row,) = decoded.transactions.to_dicts()
    assert row["amount_cents"] == 1234
    assert row["event_time_ms"] == parse_rfc3339_ms("2026-01-31T11:00:00.123Z")
    assert dict(decoded.transactions.schema) == COLUMNS
    assert row["country"] is row["latitude"] is row["device_id"] is None


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"amount": -1}, "schema", "amount"),
        ({"amount": 0}, "schema", "amount"),
        ({"amount": 1e300}, "schema", "amount"),
        ({"amount": "12"}, "schema", "amount"),
        ({"amount": True}, "schema", "amount"),
        ({"currency": "euro"}, "schema", "currency"),
        ({"user_id": ""}, "schema", "user_id"),
        ({"user_id": "x" * 1_000_000}, "schema", "user_id"),
        ({"timestamp": "2026-01-31T12:00:00"}, "schema", "timestamp"),
        ({"timestamp": "2026-02-31T12:00:00Z"}, "timestamp", "day"),
        ({"timestamp": "2026-01-31T11:06:00Z"}, "future", "359 s"),
        ({"latitude": 91}, "schema", "latitude"),
        ({"is_fraud": 1}, "schema", "not allowed"),
    ],
)
def test_a_bad_field_is_refused_with_a_reason_that_names_it(change, kind, says):
    decoded = decode(json.dumps(GOOD | change).encode())
    assert len(decoded.transactions) == 0
    (refusal,) = decoded.refusals
    assert refusal.kind == kind
    assert says in refusal.reason
    assert len(refusal.reason) < 400


@pytest.mark.parametrize("value", [None, b"", b"{", b"\xff\xfe", b"[" * 100_000, b"null", b"[]", b'{"amount": NaN}'])
def test_what_is_no_json_object_is_refused(value):
    decoded = decode(value)
    assert len(decoded.refusals) == 1
    assert len(decoded.transactions) == 0


@given(st.lists(st.one_of(st.none(), st.binary(max_size=40), st.just(json.dumps(GOOD).encode())), max_size=20))
def test_every_message_is_either_a_row_or_a_refusal(values):
    decoded = decode(*values)
    assert sorted([*decoded.accepted.tolist(), *(refusal.index for refusal in decoded.refusals)]) == list(
        range(len(values))
    )
    assert decoded.transactions["offset"].to_list() == decoded.accepted.tolist()


@given(st.integers(1, 10**11), st.integers(0, 4_000_000_000_000))
def test_encoding_and_decoding_keeps_cents_and_milliseconds(cents, time_ms):
    fields = {name: value for name, value in GOOD.items() if name != "timestamp"}
    value = encode_transaction(fields | {"amount": cents / 100, "event_time_ms": time_ms})
    decoded = decode_transactions([value], [0], [0], [time_ms], future_tolerance_ms=0)
    assert decoded.refusals == []
    (row,) = decoded.transactions.to_dicts()
    assert (row["amount_cents"], row["event_time_ms"]) == (cents, time_ms)


@given(st.integers(-(10**12), 4_000_000_000_000))
def test_times_survive_the_way_to_text_and_back(time_ms):
    assert parse_rfc3339_ms(format_rfc3339_ms(time_ms)) == time_ms
