"""Validation: every message is either a row or a refusal with a reason; nothing stops the batch."""

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fraud_core.payments.reader import ReadingRules
from fraud_core.payments.times import EARLIEST_MS
from fraud_core.payments.transaction import COLUMNS, Decoded, decode_transactions, encode_transaction
from fraud_core.schema import decode_plain
from fraud_core.timestamps import format_rfc3339_ms, parse_rfc3339_ms
from fraud_core.topics import TRANSACTIONS

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
    return decode_transactions(values, [0] * n, range(n), [ARRIVED_MS] * n, ReadingRules(300_000))


def test_the_six_required_fields_are_enough():
    decoded = decode(json.dumps(GOOD).encode())
    assert decoded.refusals == []
    (row,) = decoded.transactions.to_dicts()
    assert row["amount_minor"] == 1234
    assert row["event_time_ms"] == parse_rfc3339_ms("2026-01-31T11:00:00.123Z")
    assert dict(decoded.transactions.schema) == COLUMNS
    assert row["country"] is row["latitude"] is row["device_id"] is None


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"amount": -1e300}, "schema", "amount"),
        ({"amount": 1e300}, "schema", "amount"),
        ({"amount": "12,5"}, "schema", "amount"),
        ({"amount": True}, "schema", "amount"),
        ({"currency": "euro"}, "schema", "currency"),
        ({"user_id": ""}, "schema", "user_id"),
        ({"user_id": "x" * 1_000_000}, "schema", "user_id"),
        ({"timestamp": "2026-01-31T12:00:00"}, "timestamp", "FRAUD_TIME_ZONE"),
        ({"timestamp": "2026-02-31T12:00:00Z"}, "timestamp", "day"),
        ({"timestamp": "0001-01-01T00:00:00Z"}, "timestamp", "before 1990"),
        ({"timestamp": "0001-01-01T00:00:00+01:00"}, "timestamp", "outside the years"),
        ({"timestamp": None, "amount": "x"}, "schema", "timestamp: missing"),
        ({"timestamp": "2026-01-31T11:06:00Z"}, "timestamp", "359 s"),
        ({"is_fraud": 1}, "schema", "never part of a payment"),
    ],
)
def test_a_bad_field_is_refused_with_a_reason_that_names_it(change, kind, says):
    decoded = decode(json.dumps(GOOD | change).encode())
    assert len(decoded.transactions) == 0
    (refusal,) = decoded.refusals
    assert refusal.kind == kind
    assert says in refusal.reason
    assert len(refusal.reason) < 400


def test_a_payment_without_its_unusable_fields_is_decided_and_says_which_they_are():
    bad = json.dumps(GOOD | {"latitude": 91, "channel": "POS", "country": "Nowhere"}).encode()
    decoded = decode(json.dumps(GOOD).encode(), b"{", bad, json.dumps(GOOD).encode())
    assert decoded.accepted.tolist() == [0, 2, 3]
    assert decoded.ignored == {1: ("country", "latitude")}
    assert decoded.transactions["channel"].to_list() == [None, "pos", None]
    assert decoded.transactions["latitude"].to_list() == [None] * 3


def test_a_zone_that_is_stated_is_that_of_times_without_one():
    value = json.dumps(GOOD | {"timestamp": "2026-01-31 12:00:00"}).encode()
    decoded = decode_transactions([value], [0], [0], [ARRIVED_MS], ReadingRules(0, "Europe/Berlin"))
    assert decoded.transactions["event_time_ms"].to_list() == [parse_rfc3339_ms("2026-01-31T11:00:00Z")]


PLAIN = st.fixed_dictionaries(
    {
        "transaction_id": st.text(min_size=1, max_size=64),
        "user_id": st.text(min_size=1, max_size=64),
        "merchant_id": st.sampled_from((" m ", "m", "0")),
        "amount": st.floats(-1e9, 1e9) | st.integers(-(10**9), 10**9),
        "currency": st.sampled_from(("EUR", "XXX")),
        "timestamp": st.sampled_from((GOOD["timestamp"], "2026-01-31T11:00:00.123456789Z", "2016-12-31T23:59:60Z")),
    },
    optional={
        "merchant_category": st.sampled_from((" ", "5411", None)),
        "channel": st.sampled_from(("online", "pos", "Ö\tü", None)),
        "country": st.sampled_from(("DE", "XK", None)),
        "latitude": st.floats(-90, 90) | st.none(),
        "device_id": st.text(min_size=1, max_size=64) | st.none(),
        "type": st.sampled_from(("refund", "purchase", "instalment", "Ö\tü", None)),
        "outcome": st.sampled_from(("approved", "declined", None)),
        "decline_reason": st.text(min_size=1, max_size=64) | st.none(),
        "entry_mode": st.sampled_from(("chip", "keyed", None)),
        "ip_address": st.text(min_size=1, max_size=64) | st.none(),
        "email": st.text(min_size=1, max_size=254) | st.none(),
    },
)


@given(PLAIN)
def test_what_is_read_in_one_step_is_read_the_same_beside_a_field_of_somebodys_own(message):
    """A plain message is decoded in one step; one field more, and it goes through the reader of all spellings."""
    assume(decode_plain(TRANSACTIONS.schema, [json.dumps(message).encode()]) != [None])
    plain, odd = (decode(json.dumps(one).encode()) for one in (message, message | {"terminal": 7}))
    assert plain.refusals == odd.refusals == []
    assert plain.ignored == odd.ignored == {}
    assert plain.transactions.equals(odd.transactions)


@pytest.mark.parametrize("value", [None, b"", b"{", b"\xff\xfe", b"[" * 100_000, b"null", b"[]", b'{"amount": NaN'])
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


@given(
    st.sampled_from(("EUR", "JPY", "KWD", "CLF", "XTS", "ABC")),
    st.integers(-(10**9), 10**9),
    st.integers(EARLIEST_MS, 4_000_000_000_000),
)
def test_encoding_and_decoding_keeps_minor_units_and_milliseconds(currency, amount_minor, time_ms):
    fields = {name: value for name, value in GOOD.items() if name not in ("timestamp", "amount")}
    paid = {"currency": currency, "amount_minor": amount_minor, "event_time_ms": time_ms}
    value = encode_transaction(fields | paid)
    decoded = decode_transactions([value], [0], [0], [time_ms], ReadingRules(0))
    assert decoded.refusals == []
    (row,) = decoded.transactions.to_dicts()
    assert (row["currency"], row["amount_minor"], row["event_time_ms"]) == (currency, amount_minor, time_ms)


@pytest.mark.parametrize(
    ("currency", "minor"), [("EUR", 1235), ("jpy", 12), ("414", 12346), ("CLF", 123456), ("XAU", 1235)]
)
def test_an_amount_is_kept_in_the_minor_unit_of_its_own_currency(currency, minor):
    (row,) = decode(json.dumps(GOOD | {"amount": 12.3456, "currency": currency}).encode()).transactions.to_dicts()
    assert row["amount_minor"] == minor


@given(st.integers(-(10**12), 4_000_000_000_000))
def test_times_survive_the_way_to_text_and_back(time_ms):
    assert parse_rfc3339_ms(format_rfc3339_ms(time_ms)) == time_ms
