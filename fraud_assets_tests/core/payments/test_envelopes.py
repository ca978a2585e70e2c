"""What is around a payment is named with what cures it; nothing else is taken for an envelope."""

import gzip

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_core.payments.envelopes import EnvelopeError, open_message, unwrapped

PAYMENT = {"transaction_id": "t-1", "amount": 20.5}
JSON = orjson.dumps(PAYMENT)


@pytest.mark.parametrize(
    ("value", "kind", "cure"),
    [
        (None, "no value", "tombstone"),
        (b"", "not JSON", "not JSON"),
        (b"{", "not JSON", "not JSON"),
        (b"<payment/>", "not JSON", "not JSON"),
        (b"[" * 100_000, "not JSON", "not JSON"),
        (b"\0\0\0\0\x2a" + JSON, "schema registry", "schema 42"),
        (b"\0\0\0\x01\0\0\x02avro", "schema registry", "schema 256"),
        (b"Obj\x01\x04", "Avro file", "as JSON"),
        (gzip.compress(JSON, mtime=0), "compressed", "compression.type"),
        (b"\xff\xfe{\0", "not UTF-8", "UTF-8"),
        ('{"transaction_id": "ü"}'.encode("latin-1"), "not JSON", "not JSON"),
        (orjson.dumps(JSON.decode()), "encoded twice", "once"),
        (b"[1]", "schema", "list"),
        (b"null", "schema", "NoneType"),
        (b"20.5", "schema", "float"),
        (orjson.dumps({"before": None, "after": PAYMENT, "op": "c"}), "Debezium envelope", "ExtractNewRecordState"),
        (orjson.dumps({"before": PAYMENT, "after": None, "op": "d"}), "Debezium envelope", "ExtractNewRecordState"),
        (
            orjson.dumps({"schema": {}, "payload": {"before": None, "after": PAYMENT, "op": "r"}}),
            "Debezium envelope",
            "ExtractNewRecordState",
        ),
        (orjson.dumps({"schema": {"type": "struct"}, "payload": PAYMENT}), "Connect envelope", "schemas.enable"),
        (orjson.dumps({"specversion": "1.0", "type": "x", "data": PAYMENT}), "CloudEvents envelope", "data"),
    ],
)
def test_what_holds_no_payment_is_named_with_what_cures_it(value, kind, cure):
    with pytest.raises(EnvelopeError, match=cure) as refused:
        unwrapped(open_message(value))
    assert refused.value.kind == kind


@pytest.mark.parametrize("value", [JSON, b"\xef\xbb\xbf" + JSON, b"\n " + JSON, b"\xef\xbb\xbf\n" + JSON])
def test_a_payment_is_opened_with_a_byte_order_mark_too(value):
    assert open_message(value) == PAYMENT


def test_not_a_number_is_a_missing_value():
    """Python's serializer writes NaN and Infinity, which are not JSON, where pandas has no value."""
    assert open_message(b'{"amount": 1.5, "latitude": NaN, "longitude": -Infinity}') == {
        "amount": 1.5,
        "latitude": None,
        "longitude": None,
    }


@pytest.mark.parametrize("name", ["op", "payload", "schema", "data", "after"])
def test_a_field_of_somebodys_own_is_no_envelope(name):
    assert unwrapped(PAYMENT | {name: {"a": 1}})["transaction_id"] == "t-1"


@given(st.binary())
def test_any_bytes_give_an_object_or_a_sentence(value):
    try:
        assert isinstance(open_message(value), dict)
    except EnvelopeError as error:
        assert error.kind and str(error)
