"""Messages as producers write them, each with what becomes of it: a payment, or a reason that helps."""

import json

import pytest

from fraud_core.payments.reader import ReadingRules
from fraud_core.payments.transaction import Decoded, decode_transactions
from fraud_core.timestamps import parse_rfc3339_ms

NOW_MS = parse_rfc3339_ms("2026-01-31T11:00:30Z")
PLAIN = {
    "transaction_id": "p-1",
    "user_id": "u-1",
    "merchant_id": "m-1",
    "amount": 20.5,
    "currency": "EUR",
    "timestamp": "2026-01-31T11:00:00Z",
}


def decode(value: bytes | None) -> Decoded:
    return decode_transactions([value], [0], [0], [NOW_MS], ReadingRules(300_000))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"amount": "134.09"},  # how most banks' JSON carries money
        {"amount": 0},
        {"amount": -25.0},
        {"timestamp": 1769857200000},
        {"timestamp": 1769857200},
        {"timestamp": "2026-01-31T11:00:00+0000"},
        {"timestamp": "2026-01-31 11:00:00+00"},  # PostgreSQL
        {"timestamp": "2026-01-31 11:00:00 UTC"},  # BigQuery
        {"timestamp": "2026-01-31T12:00:00.000+01:00[Europe/Berlin]"},
        {"currency": "eur"},
        {"currency": 978},
        {"user_id": 4711},
        {"channel": "pos"},
        {"channel": "ONLINE"},
        {"country": "USA"},
        {"country": 840},
        {"country": ""},
        {"merchant_category": 5411},
        {"is_fraud": None},
        {"label": None},
        {"device": {"os": "ios"}, "items": [1, 2]},
    ],
)
def test_a_payment_in_a_usual_spelling_is_decided_with_all_its_fields(changes):
    decoded = decode(json.dumps(PLAIN | changes).encode())
    assert decoded.refusals == []
    assert decoded.ignored == {}
    assert decoded.transactions["event_time_ms"].to_list() == [parse_rfc3339_ms(PLAIN["timestamp"])]


@pytest.mark.parametrize(
    ("changes", "ignored"),
    [
        ({"latitude": 999.0, "longitude": 0.0}, ("latitude",)),
        ({"country": "Deutschland"}, ("country",)),
        ({"channel": {"name": "pos"}}, ("channel",)),
        ({"device_id": ["d-1"], "merchant_category": 1.5}, ("merchant_category", "device_id")),
    ],
)
def test_a_payment_is_decided_without_an_optional_field_that_cannot_be_used(changes, ignored):
    decoded = decode(json.dumps(PLAIN | changes).encode())
    assert decoded.refusals == []
    assert decoded.ignored == {0: ignored}


@pytest.mark.parametrize(
    ("value", "kind", "says"),
    [
        (json.dumps(PLAIN | {"timestamp": "2026-01-31 11:00:00"}).encode(), "timestamp", "FRAUD_TIME_ZONE"),
        (json.dumps(PLAIN | {"timestamp": "0001-01-01T00:00:00Z"}).encode(), "timestamp", "before 1990"),
        (json.dumps(PLAIN | {"timestamp": "2026-01-31T12:00:00Z"}).encode(), "timestamp", "after the record's arrival"),
        (json.dumps(PLAIN | {"amount": "20,50"}).encode(), "schema", "separated by a point"),
        (json.dumps(PLAIN | {"is_fraud": 1}).encode(), "schema", "never part of a payment"),
        (json.dumps({"before": None, "after": PLAIN, "op": "c"}).encode(), "Debezium envelope", "unwrap"),
        (b"\0\0\0\0\x2a" + json.dumps(PLAIN).encode(), "schema registry", "schema 42"),
        (json.dumps(json.dumps(PLAIN)).encode(), "encoded twice", "serialize"),
        (None, "no value", "tombstone"),
    ],
)
def test_what_cannot_be_a_payment_is_refused_with_what_cures_it(value, kind, says):
    (refusal,) = decode(value).refusals
    assert refusal.kind == kind
    assert says in refusal.reason
