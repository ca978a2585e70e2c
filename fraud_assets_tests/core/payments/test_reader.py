"""A payment is read in whichever spelling its producer has; only a required field can cost it its decision."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_core.payments.reader import read_payment
from fraud_core.schema import load_schema
from fraud_core.topics import TRANSACTIONS

PAYMENT = {
    "transaction_id": "t-1",
    "user_id": "u-1",
    "merchant_id": "m-1",
    "amount": 20.5,
    "currency": "EUR",
    "timestamp": "2026-01-31T11:00:00.000Z",
}
FIELDS = tuple(load_schema(TRANSACTIONS.schema)["properties"])
OPTIONAL = [name for name in FIELDS if name not in PAYMENT]


def read(**changes: object) -> tuple[dict, tuple[str, ...]]:
    payment = read_payment(PAYMENT | changes, None)
    return {
        name: value for name, value in zip(FIELDS, payment.fields, strict=True) if value is not None
    }, payment.ignored


@pytest.mark.parametrize(
    ("name", "written", "kept"),
    [
        ("user_id", 4711, "4711"),
        ("user_id", 4711.0, "4711"),
        ("merchant_id", 10**17, str(10**17)),
        ("transaction_id", " 00012 ", " 00012 "),  # ids are compared as they are: labels must match them
        ("amount", "134.09", 134.09),
        ("amount", " 134.090 ", 134.09),
        ("amount", "1.5e2", 150.0),
        ("amount", 20, 20.0),
        ("amount", 0, 0.0),
        ("amount", "-25.00", -25.0),
        ("currency", "eur", "EUR"),
        ("currency", " Eur", "EUR"),
        ("currency", 978, "EUR"),
        ("currency", "978", "EUR"),
        ("currency", "008", "ALL"),
        ("currency", "xbt", "XBT"),
        ("timestamp", "2026-01-31 12:00:00+0100", PAYMENT["timestamp"]),
        ("timestamp", 1769857200000, PAYMENT["timestamp"]),
        ("country", "USA", "US"),
        ("country", "usa", "US"),
        ("country", "us", "US"),
        ("country", "840", "US"),
        ("country", 40, "AT"),
        ("country", "XK", "XK"),
        ("channel", "ONLINE", "online"),
        ("channel", " Online ", "online"),
        ("channel", "pos", "pos"),
        ("channel", 7, "7"),
        ("merchant_category", 5411, "5411"),
        ("merchant_category", 742, "0742"),
        ("merchant_category", "grocery_pos", "grocery_pos"),
        ("latitude", "48.1", 48.1),
        ("longitude", -180, -180.0),
        ("device_id", 99, "99"),
        ("type", "REFUND", "refund"),
        ("type", " Cash Advance ", "cash advance"),
        ("outcome", "Declined", "declined"),
        ("outcome", " APPROVED ", "approved"),
        ("decline_reason", 51, "51"),
        ("decline_reason", "Insufficient funds", "Insufficient funds"),
        ("entry_mode", "KEYED", "keyed"),
        ("ip_address", "2001:db8::1", "2001:db8::1"),
        ("email", "a" * 252 + "@b", "a" * 252 + "@b"),
    ],
)
def test_a_value_is_read_in_each_usual_spelling(name, written, kept):
    assert read(**{name: written}) == ({**PAYMENT, name: kept}, ())


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("latitude", 999.0),
        ("latitude", "north"),
        ("longitude", [1.0]),
        ("longitude", 1e400),
        ("country", "Germany"),
        ("country", "999"),
        ("country", " "),
        ("country", True),
        ("channel", ["online"]),
        ("channel", "x" * 65),
        ("merchant_category", {"code": 5411}),
        ("device_id", "x" * 65),
        ("device_id", 1.5),
        ("device_id", False),
        ("type", "x" * 65),
        ("type", "  "),
        ("type", "A" + "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}" * 63),  # twice as long in lower case
        ("outcome", "pending"),
        ("outcome", True),
        ("outcome", ["declined"]),
        ("decline_reason", "x" * 65),
        ("entry_mode", {}),
        ("ip_address", 1.5),
        ("email", "x" * 255),
    ],
)
def test_an_optional_field_that_cannot_be_used_counts_as_missing_and_is_named(name, written):
    assert read(**{name: written}) == (PAYMENT, (name,))


@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("nothing", [None, ""])
def test_an_empty_optional_field_is_missing_and_not_worth_a_word(name, nothing):
    assert read(**{name: nothing}) == (PAYMENT, ())


def test_all_that_cannot_be_used_is_named():
    assert read(latitude=999, country="nowhere at all", channel="pos")[1] == ("country", "latitude")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"user_id": None}, "user_id: missing"),
        ({"user_id": ""}, "user_id: empty"),
        ({"user_id": True}, "user_id: True is neither"),
        ({"user_id": 1.5}, "user_id: 1.5 is neither"),
        ({"user_id": "x" * 65}, "user_id: .* has 65 characters"),
        ({"amount": None}, "amount: missing"),
        ({"amount": "12,50"}, "amount: '12,50' .* by a point"),
        ({"amount": "$45.60"}, "amount: '\\$45.60' is no number"),
        ({"amount": "NaN"}, "amount: 'NaN' is no number"),
        ({"amount": "1e400"}, "amount: inf is not between"),
        ({"amount": False}, "amount: False is no number"),
        ({"amount": 1_000_000_001}, "amount: 1000000001 is not between"),
        ({"currency": "euro"}, "currency: 'euro' is no currency.*978"),
        ({"currency": 1}, "currency: 1 is no currency"),
        ({"currency": "€"}, "currency"),
        ({"timestamp": "2026-01-31 11:00:00"}, "timestamp: .* FRAUD_TIME_ZONE"),
        ({"timestamp": "0001-01-01T00:00:00Z"}, "timestamp: .* before 1990"),
        ({"is_fraud": False}, "is_fraud: a label"),
        ({"label": 1}, "label: a label"),
        (
            {"user_id": None, "amount": "x", "currency": "euro", "latitude": 999},
            "user_id: missing; amount: 'x' is no number; currency: 'euro'",
        ),
    ],
)
def test_all_errors_of_required_fields_are_in_one_reason(changes, reason):
    with pytest.raises(ValueError, match=reason):
        read(**changes)


def test_a_label_that_says_nothing_is_no_label():
    assert read(is_fraud=None) == (PAYMENT, ())


def test_fields_of_somebodys_own_change_nothing():
    assert read(terminal={"id": 7}, note="x") == (PAYMENT, ())


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@given(st.dictionaries(st.sampled_from(OPTIONAL), JSON_VALUES))
def test_nothing_in_optional_fields_refuses_a_payment(fields):
    kept, ignored = read(**fields)
    assert kept.items() >= PAYMENT.items()
    assert set(ignored) <= fields.keys() - kept.keys()


@given(st.dictionaries(st.sampled_from(FIELDS), JSON_VALUES))
def test_any_message_is_read_or_refused_with_the_fields_named(fields):
    try:
        payment = read_payment(PAYMENT | fields, None)
    except ValueError as error:
        assert any(str(error).startswith(f"{name}: ") for name in PAYMENT)
    else:
        assert all(payment.fields[FIELDS.index(name)] is not None for name in PAYMENT)
