"""Pseudonyms hide who somebody is and change nothing else."""

import doctest

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fraud_assets_tests.core.streams import streams
from fraud_assets_tests.schemas import validator
from fraud_core.features.exchange_rates import NO_RATES
from fraud_core.features.merchant_risk import MerchantRisk
from fraud_core.features.table import compute_features
from fraud_core.payments import pseudonyms
from fraud_core.payments.pseudonyms import FIELDS, Pseudonyms
from fraud_core.settings import Settings, describe
from fraud_core.topics import TRANSACTIONS

KEY = Pseudonyms(b"0123456789abcdef0123456789abcdef")
IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=64)


def test_the_function_is_the_documented_one():
    """The value in the docstring was computed with openssl: another function would make every card a stranger."""
    assert doctest.testmod(pseudonyms).failed == 0


@given(st.sampled_from(FIELDS), IDS, IDS)
def test_two_ids_have_the_same_pseudonym_exactly_when_they_are_the_same(field, one, other):
    assert (KEY.of(field, one) == KEY.of(field, other)) == (one == other)


@given(IDS, st.binary(min_size=32, max_size=64).filter(lambda key: key != KEY.key))
def test_another_key_or_another_field_gives_another_pseudonym(name, key):
    assert len({KEY.of("user_id", name), KEY.of("device_id", name), Pseudonyms(key).of("user_id", name)}) == 3


@given(IDS, st.none() | IDS, st.none() | IDS, st.none() | IDS)
def test_a_hidden_transaction_is_valid_and_differs_in_the_ids_of_people_only(user, device, address, email):
    sent = {"transaction_id": "t", "user_id": user, "merchant_id": "m", "amount": 1.5, "currency": "EUR"}
    sent |= {"timestamp": "2026-01-01T00:00:00Z", "device_id": device, "ip_address": address, "email": email}
    hidden = KEY.hide(sent)
    assert validator(TRANSACTIONS.schema).is_valid(hidden)
    assert {name for name in sent if sent[name] != hidden[name]} == {name for name in FIELDS if sent[name] is not None}
    assert hidden.keys() == sent.keys()


@given(streams())
def test_features_are_the_same_to_the_bit_under_pseudonyms(stream):
    hidden = pl.DataFrame([KEY.hide(row) for row in stream.to_dicts()], schema=stream.schema)
    before, after = (compute_features(rows, None, MerchantRisk.empty(), NO_RATES).values for rows in (stream, hidden))
    assert np.array_equal(before, after)


def test_a_short_key_is_refused_without_being_shown():
    with pytest.raises(ValidationError) as refused:
        Settings(pseudonym_key="too short")
    sentence = describe(refused.value)
    assert sentence.startswith("FRAUD_PSEUDONYM_KEY is set to a secret: ")
    assert "32" in sentence
    assert "too short" not in sentence
