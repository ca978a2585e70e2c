"""A mapping gives the payment that a record means, or a refusal that names the column; presets take published rows."""

import json
import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_assets_tests.core.simulation.test_simulation import CUSTOMERS, FIRST_DAY, SEED
from fraud_core.payments.mapping import RecordMapping
from fraud_core.payments.mapping_file import MappingError, mapping_text, preset_names
from fraud_core.payments.reader import ReadingRules
from fraud_core.payments.transaction import Decoded, decode_transactions, encode_transaction
from fraud_core.simulation.simulator import Simulator
from fraud_core.timestamps import format_rfc3339_ms, parse_rfc3339_ms
from fraud_io.folders import ROOT

NOW_MS = parse_rfc3339_ms("2027-01-01T00:00:00Z")
FITTING = [name for name in preset_names() if name != "ulb"]


def decode(text: str, *records: object) -> Decoded:
    values = [orjson.dumps(record) for record in records]
    n = len(values)
    return decode_transactions(values, [3] * n, range(n), [NOW_MS] * n, ReadingRules(0, mapping=text))


def row(text: str, record: dict[str, Any]) -> dict[str, Any]:
    """The fields of the one payment that the record is."""
    decoded = decode(text, record)
    assert decoded.refusals == []
    (found,) = decoded.transactions.to_dicts()
    return found


def mapping(payment: str, more: str = "") -> str:
    """A mapping of some fields; the others are read by their own names."""
    return f'description = "a test"\nkeep_names = true\n{more}\n[payment]\n{payment}'


OURS = {
    "transaction_id": "t-1",
    "user_id": "u-1",
    "merchant_id": "m-1",
    "amount": 12.34,
    "currency": "EUR",
    "timestamp": "2026-01-31T12:00:00Z",
}


@pytest.mark.parametrize(
    ("rule", "field", "record", "value"),
    [
        ('user_id = { from = "card.pan" }', "user_id", {"card": {"pan": 4711}}, "4711"),
        ('user_id = { from = "card.pan" }', "user_id", {"card.pan": "a column's name"}, "a column's name"),
        ('user_id = { from = "cards.0.id" }', "user_id", {"cards": [{"id": "c"}]}, "c"),
        ('user_id = { from = ["a", "b"], join = "-" }', "user_id", {"a": 1, "b": "x"}, "1-x"),
        ('user_id = { from = ["a", "b"], first = true }', "user_id", {"a": "--", "b": "x"}, "x"),
        ('user_id = { constant = "all" }', "user_id", {}, "all"),
        ("transaction_id = { row_number = true }", "transaction_id", {}, "3-0"),
        ('user_id = { from = 2, strip = "\'" }', "user_id", {"2": "'C1'"}, "C1"),
        (
            'user_id = { from = "a", remove_prefix = "u_", prefix = "x-", suffix = "-y" }',
            "user_id",
            {"a": "u_7"},
            "x-7-y",
        ),
        (
            'channel = { from = "a", values = { "Swipe Transaction" = "swipe" } }',
            "channel",
            {"a": "SWIPE TRANSACTION"},
            "swipe",
        ),
        ('channel = { from = "a", values = { x = "y" }, otherwise = "pos" }', "channel", {"a": "z"}, "pos"),
        ('country = { from = "a" }', "country", {"a": "N/A"}, None),
        ('amount = { from = "a", decimal = "," }', "amount_minor", {"a": "1.234,56 €"}, 123456),
        ('amount = { from = "a", sign = "reverse" }', "amount_minor", {"a": -20.5}, 2050),
        ('amount = { from = "a", sign = "absolute" }', "amount_minor", {"a": "-$20.50"}, 2050),
        ('amount = { from = "a", minor_units = true }', "amount_minor", {"a": 2050}, 2050),
        ('amount = { debit = "out", credit = "in" }', "amount_minor", {"out": "20.50", "in": ""}, 2050),
        ('amount = { debit = "out", credit = "in" }', "amount_minor", {"out": None, "in": "-20.50"}, -2050),
        ('amount = { from = "a", refund_where = { D = ["credit"] } }', "amount_minor", {"a": 5, "D": "Credit"}, -500),
        ('timestamp = { from = "a", zone = "America/New_York" }', "event_time_ms", {"a": "2026-01-31 07:00:00"}, "12"),
        (
            'timestamp = { from = "a", format = "%d/%m/%Y %H:%M", zone = "UTC" }',
            "event_time_ms",
            {"a": "31/01/2026 12:00"},
            "12",
        ),
        (
            'timestamp = { from = ["d", "t"], zone_from = "z", zones = { CET = "Europe/Paris" } }',
            "event_time_ms",
            {"d": "2026-01-31", "t": "13:00:00", "z": "CET"},
            "12",
        ),
        (
            'timestamp = { from = "step", start = "2026-01-31T00:00:00Z", step_s = 3600 }',
            "event_time_ms",
            {"step": "12"},
            "12",
        ),
        ('timestamp = { from = "a" }', "event_time_ms", {"a": 1769860800}, "12"),
    ],
)
def test_each_key_of_a_rule_does_what_it_says(rule, field, record, value):
    name = rule.split(" ")[0]
    ours = {key: given for key, given in OURS.items() if key != name}
    found = row(mapping(rule), ours | record)[field]
    if field == "event_time_ms":
        found, value = format_rfc3339_ms(found), f"2026-01-31T{value}:00:00.000Z"
    assert found == value


def test_a_quotient_of_two_columns_tells_cards_apart():
    rule = 'user_id = { from = ["card", { column = "seconds", divide_by = 86400, minus = "age" }], join = "-" }'
    records = [OURS | {"card": 7, "seconds": seconds, "age": age} for seconds, age in ((86_500, 14.0), (172_900, 15))]
    assert decode(mapping(rule), *records).transactions["user_id"].to_list() == ["7--13", "7--13"]


def test_minor_units_follow_the_currency():
    rule = 'amount = { from = "amount", minor_units = true }'
    euros = row(mapping(rule), OURS | {"amount": 2050, "currency": "eur"})
    yen = row(mapping(rule), OURS | {"amount": 2050, "currency": "JPY"})
    assert (euros["amount_minor"], yen["amount_minor"]) == (2050, 2050)


def test_what_a_rule_can_do_nothing_with_costs_a_required_field_the_payment_and_an_optional_one_itself():
    rules = 'amount = { from = "amt" }\nlatitude = { from = ["a", "b"], join = "," }'
    refused, ignored = OURS | {"amt": "twelve"}, OURS | {"amt": "1", "a": 1, "b": 2}
    decoded = decode(mapping(rules), refused, ignored)
    assert decoded.ignored == {0: ("latitude",)}
    assert [refusal.reason for refusal in decoded.refusals] == [
        "amount: 'twelve' is no amount (mapping: amount from amt)"
    ]


def test_what_is_no_payment_to_the_mapping_is_left_out_by_that_name():
    decoded = decode(mapping("", 'where = { Type = ["Settled"] }'), OURS | {"Type": "Fee"}, OURS | {"Type": "settled"})
    assert [refusal.kind for refusal in decoded.refusals] == ["left out"]
    assert len(decoded.transactions) == 1


@pytest.mark.parametrize(
    ("envelope", "wrapped"),
    [
        ("debezium", {"before": None, "after": OURS, "op": "c"}),
        ("debezium", {"schema": {}, "payload": {"before": None, "after": OURS, "op": "u"}}),
        ("connect", {"schema": {}, "payload": OURS}),
        ("cloudevents", {"specversion": "1.0", "data": OURS}),
    ],
)
def test_an_envelope_that_the_mapping_names_is_opened_and_another_one_refused(envelope, wrapped):
    text = mapping("", f'envelope = "{envelope}"')
    assert row(text, wrapped) == row(mapping(""), OURS)
    deleted = {"before": OURS, "after": None, "op": "d"}
    for other in (OURS, deleted):
        assert [refusal.kind for refusal in decode(text, other).refusals] in (["schema"], ["no value"])


def test_everything_wrong_with_a_mapping_is_said_at_once():
    text = 'description = "x"\n[payment]\nuser_id = { form = "a" }\namount = { from = "a", decimal = ";" }\n'
    text += 'timestamp = { from = "t", zone = "Mars" }\n[labels]\n'
    with pytest.raises(MappingError) as caught:
        RecordMapping.of(text)
    for part in ("payment.user_id", "form", "payment.amount", "decimal", "Mars is no time zone", "labels"):
        assert part in str(caught.value)
    for wrong, says in (("x = ", "not TOML"), ('description = "x"\npayment.user_id = {}', "one of from, constant")):
        with pytest.raises(MappingError, match=says):
            RecordMapping.of(wrong)
    with pytest.raises(MappingError, match=r"there is no mapping nowhere.*sparkov"):
        mapping_text("nowhere")


def test_payments_in_other_columns_are_the_same_payments():
    day = Simulator(CUSTOMERS, SEED).day(FIRST_DAY).transactions
    ours = [json.loads(encode_transaction(one)) for one in day.to_dicts()]
    renamed = [{"body": {f"their_{name}": value for name, value in one.items()}} for one in ours]
    rules = "\n".join(f'{name} = {{ from = "body.their_{name}" }}' for name in set().union(*ours))
    here, there = decode(mapping(""), *ours), decode(f'description = "x"\n[payment]\n{rules}', *renamed)
    assert here.refusals == there.refusals == []
    assert len(here.transactions) > 500
    assert here.transactions.equals(there.transactions)


PUBLISHED = {
    "sparkov": (
        {"trans_date_trans_time": "2019-03-02 08:15:00", "cc_num": "4000000000000002", "merchant": "fraud_One, Two",
         "category": "misc_net", "amt": "12.34", "lat": "36.1", "long": "-81.2", "trans_num": "00aa11",
         "unix_time": "1330676100", "merch_lat": "36.0", "merch_long": "-82.0", "is_fraud": "0"},
        {"user_id": "4000000000000002", "merchant_id": "One, Two", "amount_minor": 1234, "channel": "online",
         "event_time_ms": parse_rfc3339_ms("2019-03-02T08:15:00Z"), "latitude": 36.0},
    ),
    "tabformer": (
        {"User": "0", "Card": "0", "Year": "2012", "Month": "3", "Day": "4", "Time": "07:30", "Amount": "$45.60",
         "Use Chip": "Swipe Transaction", "Merchant Name": "3000000000000000001", "MCC": "5300",
         "Errors?": "Insufficient Balance,", "Is Fraud?": "No"},
        {"transaction_id": "tabformer-3-0", "user_id": "0-0", "amount_minor": 4560, "channel": "swipe",
         "event_time_ms": parse_rfc3339_ms("2012-03-04T07:30:00Z"), "outcome": "declined",
         "decline_reason": "Insufficient Balance"},
    ),
    "tabformer-2024": (
        {"id": 7475327, "date": "2010-01-01 00:01:00", "client_id": 1556, "card_id": 2972, "amount": "$-77.00",
         "use_chip": "Swipe Transaction", "merchant_id": 59935, "mcc": 5499, "errors": None},
        {"transaction_id": "7475327", "user_id": "1556-2972", "amount_minor": -7700, "merchant_category": "5499",
         "outcome": None},
    ),
    "paysim": (
        {"step": "1", "type": "TRANSFER", "amount": "250.0", "nameOrig": "C1", "nameDest": "C2", "isFraud": "1"},
        {"user_id": "C2", "type": "transfer", "event_time_ms": parse_rfc3339_ms("2025-01-01T01:00:00Z")},
    ),
    "banksim": (
        {"step": "0", "customer": "'C1000000001'", "merchant": "'M1'", "category": "'es_transportation'",
         "amount": "7.80", "fraud": "0"},
        {"user_id": "C1000000001", "merchant_id": "M1", "merchant_category": "transportation", "amount_minor": 780},
    ),
    "ieee-cis": (
        {"TransactionID": "2900001", "isFraud": "0", "TransactionDT": "86500", "TransactionAmt": "40.25",
         "ProductCD": "W", "card1": "13000", "addr1": "300", "P_emaildomain": "", "D1": "14"},
        {"user_id": "13000-300--13", "amount_minor": 4025, "event_time_ms": parse_rfc3339_ms("2017-12-02T00:01:40Z")},
    ),
    "handbook": (
        {"TRANSACTION_ID": "0", "TX_DATETIME": "2018-04-01 00:01:40", "CUSTOMER_ID": "500", "TERMINAL_ID": "3000",
         "TX_AMOUNT": "20.50", "TX_FRAUD": "0"},
        {"transaction_id": "0", "user_id": "500", "merchant_id": "3000", "amount_minor": 2050},
    ),
    "ibm-aml": (
        {"Timestamp": "2022/09/01 00:30", "From Bank": "010", "Account": "8000AAAA0", "To Bank": "010",
         "Account.1": "8000BBBB0", "Amount Paid": "5.20", "Payment Currency": "US Dollar", "Payment Format": "Cheque",
         "Is Laundering": "0"},
        {"user_id": "010-8000AAAA0", "currency": "USD", "event_time_ms": parse_rfc3339_ms("2022-09-01T00:30:00Z")},
    ),
    "debezium": ({"before": None, "after": OURS, "op": "c"}, {"user_id": "u-1", "amount_minor": 1234}),
    "stripe": (
        {"id": "ch_1", "amount": 2050, "currency": "jpy", "created": 1769860800, "status": "failed",
         "failure_code": "card_declined", "statement_descriptor": "SHOP",
         "payment_method_details": {"card": {"fingerprint": "Xt5", "country": "US"}},
         "billing_details": {"email": "a@example.com"}},
        {"user_id": "Xt5", "amount_minor": 2050, "outcome": "declined", "decline_reason": "card_declined",
         "country": "US", "event_time_ms": parse_rfc3339_ms("2026-01-31T12:00:00Z")},
    ),
    "stripe-csv": (
        {"id": "ch_1", "Created (UTC)": "2026-01-31 12:00:00", "Amount": "20.50", "Currency": "usd",
         "Status": "Paid", "Card Fingerprint": "Xt5", "Statement Descriptor": "SHOP", "Card Issue Country": "US"},
        {"user_id": "Xt5", "amount_minor": 2050, "outcome": "approved", "merchant_id": "SHOP"},
    ),
    "adyen": (
        {"Merchant Account": "TestMerchant", "Psp Reference": "1813702551707653",
         "Creation Date": "2013-06-03 11:26:49", "TimeZone": "CET", "Type": "Refunded",
         "Gross Currency": "GBP", "Gross Debit (GC)": "5.00",
         "Gross Credit (GC)": "", "Shopper Reference": "S1"},
        {"transaction_id": "1813702551707653-Refunded", "amount_minor": -500, "type": "refund",
         "event_time_ms": parse_rfc3339_ms("2013-06-03T09:26:49Z")},
    ),
    "shopify": (
        {"Name": "#1004", "Email": "ada@example.com", "Financial Status": "partially_refunded",
         "Paid at": "2026-08-20 08:00:00 -0400", "Currency": "USD", "Total": "20.00", "Vendor": "Ferns"},
        {"user_id": "ada@example.com", "amount_minor": 2000, "event_time_ms": parse_rfc3339_ms("2026-08-20T12:00:00Z")},
    ),
    "square": (
        {"Date": "10/05/2026", "Time": "11:40:00", "Time Zone": "Eastern Time (US & Canada)",
         "Total Collected": "-$45.00", "Payment ID": "PAY4", "Event Type": "Refund", "Location": "Main",
         "PAN Suffix": "0000"},
        {"amount_minor": -4500, "type": "refund", "event_time_ms": parse_rfc3339_ms("2026-10-05T15:40:00Z")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FITTING)
def test_a_preset_reads_a_row_as_it_is_published(name):
    record, expected = PUBLISHED[name]
    found = row(mapping_text(name), record)
    assert {field: found[field] for field in expected} == expected


def test_the_example_of_the_page_is_a_mapping_and_its_presets_are_all_there_are():
    page = (ROOT / "docs" / "mapping.md").read_text()
    example, statement = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    auth = {"rrn": 1, "issuer_id": 9, "card": {"token": "t"}, "acceptor": {"id": "a"}, "amt_minor": 2050, "ccy": 978}
    auth |= {"status": "refund", "date": "310126", "time": "130000", "pos_mode": "07"}
    found = row(example, {"before": None, "after": auth, "op": "c"})
    assert (found["user_id"], found["amount_minor"], found["channel"]) == ("9-t", -2050, "contactless")
    assert found["event_time_ms"] == parse_rfc3339_ms("2026-01-31T12:00:00Z")
    line = {"Reference": "r", "Description": "Shop", "Paid out": "£20.50", "Paid in": "", "Date": "31/01/2026 12:00"}
    assert row(statement, line)["amount_minor"] == 2050
    dispute = {"reference": "r", "raised_on": "02/02/2026"}
    (label,) = RecordMapping.of(statement).labels_of_file([dispute], [1])
    assert label["label_time"] == "2026-02-02T00:00:00.000Z"
    assert set(preset_names()) == set(re.findall(r"`(?:FRAUD_MAPPING=)?([a-z0-9-]+)`", page.partition("## Presets")[2]))


def test_data_without_cards_is_told_why_it_does_not_fit():
    with pytest.raises(MappingError, match="neither card nor merchant"):
        RecordMapping.of(mapping_text("ulb"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(FITTING), st.data())
def test_whatever_a_record_holds_it_becomes_a_payment_or_a_refusal(name, data):
    record, _ = PUBLISHED[name]
    fields = data.draw(st.lists(st.sampled_from(sorted(record)), max_size=3))
    changed = record | {field: data.draw(JSON) for field in fields}
    decoded = decode(mapping_text(name), record, changed)
    assert len(decoded.transactions) + len(decoded.refusals) == 2
    assert len(decoded.transactions) >= 1
