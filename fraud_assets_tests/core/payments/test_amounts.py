"""Amounts in the spellings of statements and exports; what can be read in two ways is no amount."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_core.payments.amounts import parse_amount

NBSP = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("text", "decimal", "amount"),
    [
        ("12.34", ".", 12.34),
        ("+12", ".", 12.0),
        (".5", ".", 0.5),
        ("1e3", ".", 1000.0),
        ("$45.60", ".", 45.6),
        ("$-99.00", ".", -99.0),
        ("-$99.00", ".", -99.0),
        ("\N{MINUS SIGN}5", ".", -5.0),
        ("US$ 1.00", ".", 1.0),
        ("Rs.500", ".", 500.0),
        ("12 USD", ".", 12.0),
        ("£1,183.23", ".", 1183.23),
        ("+ £1,100.00 CR", ".", -1100.0),
        ("5.00 DR", ".", 5.0),
        ("($12.50)", ".", -12.5),
        ("7.00-", ".", -7.0),
        ("1'234.50 CHF", ".", 1234.5),
        ("1,00,000.00", ".", 100_000.0),
        ("1,234,567", ".", 1_234_567.0),
        ("1.234,56 €", ",", 1234.56),
        ("1 234,56", ",", 1234.56),
        (f"1{NBSP}234,56{NBSP}zł", ",", 1234.56),
        ("10,00 kr.", ",", 10.0),
        ("R$ 10,00", ",", 10.0),
        ("-5", ",", -5.0),
    ],
)
def test_what_names_the_currency_groups_thousands_or_marks_a_credit_is_understood(text, decimal, amount):
    assert parse_amount(text, decimal) == amount


@pytest.mark.parametrize(
    ("value", "decimal"),
    [
        ("1,5", "."),
        ("1.5", ","),
        ("12.34.56", "."),
        ("12 34", "."),
        ("--1", "."),
        ("-1-", "."),
        ("", "."),
        ("CR", "."),
        ("(5", "."),
        ("5)", "."),
        ("1,2345.00", "."),
        ("٣", "."),
        ("$" * 100_000, "."),
        (True, "."),
        (None, "."),
        ([5], "."),
    ],
)
def test_what_is_no_amount_or_has_another_decimal_sign_is_refused(value, decimal):
    with pytest.raises(ValueError, match=r"is no amount|two signs"):
        parse_amount(value, decimal)


@given(
    st.integers(-(10**11), 10**11),
    st.sampled_from(["", "$", "€ ", "USD ", "R$"]),
    st.sampled_from([(",", "."), (".", ","), (" ", ","), ("'", "."), ("", "."), (NBSP, ",")]),
)
def test_any_amount_comes_back_from_its_printed_form(cents, name, signs):
    group, decimal = signs
    whole, rest = divmod(abs(cents), 100)
    printed = f"{whole:,}".replace(",", group) + f"{decimal}{rest:02}"
    minus = "-" if cents < 0 else ""
    for text in (f"{minus}{name}{printed}", f"{name}{minus}{printed}", f"{minus}{printed} {name}"):
        assert parse_amount(text, decimal) == cents / 100


@given(st.text(max_size=40), st.sampled_from(".,"))
def test_any_text_is_an_amount_or_refused(text, decimal):
    try:
        assert isinstance(parse_amount(text, decimal), float)
    except ValueError as error:
        assert "is no amount" in str(error) or "two signs" in str(error)
