"""What was converted and what was not, currency by currency."""

from collections import Counter

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from fraud_core.evaluation.currencies import by_currency
from fraud_core.evaluation.decision_quality import decision_quality
from fraud_core.evaluation.report import evaluate
from fraud_core.money import minor_units

ROWS = st.tuples(
    st.sampled_from(("EUR", "JPY", "KWD", "XTS")),
    st.integers(-(10**6), 10**6),
    st.one_of(st.none(), st.integers(0, 99)),
)


@given(st.lists(ROWS, max_size=30), st.sampled_from(("EUR", "JPY")))
def test_every_payment_is_counted_once_with_its_amount_and_worth(drawn, into):
    schema = {"currency": pl.String, "amount_minor": pl.Int64, "value_minor": pl.Int64}
    found = by_currency(pl.DataFrame(drawn, schema=schema, orient="row"), into)
    assert found["currency"].is_unique().all()
    assert dict(zip(found["currency"], found["converted"] + found["not_converted"], strict=True)) == Counter(
        currency for currency, *_ in drawn
    )
    for row in found.iter_rows(named=True):
        own = [(amount, value) for currency, amount, value in drawn if currency == row["currency"]]
        units = minor_units(row["currency"])
        for name, amounts in (
            ("converted_amount", [amount for amount, value in own if value is not None]),
            ("not_converted_amount", [amount for amount, value in own if value is None]),
        ):
            assert row[name] == sum(amounts) / units
        assert row["value"] == sum(value or 0 for _, value in own) / minor_units(into)


def test_money_caught_counts_the_payments_that_have_a_rate():
    rows = pl.DataFrame(
        {
            "user_id": list("abcd"),
            "event_time_ms": 0,
            "is_fraud": [True, True, True, False],
            "value_minor": [100, None, 300, None],
        }
    )
    scores = pl.Series([0.9, 0.9, 0.1, 0.1]).to_numpy()
    assert evaluate(rows, scores, 0.5).value_caught == 0.25
    quality = decision_quality(rows, scores >= 0.5, resamples=5)
    assert (quality.caught, quality.caught_minor, quality.missed_minor) == (2, 100, 300)
    without = rows.with_columns(value_minor=pl.lit(None, pl.Int64))
    assert evaluate(without, scores, 0.5).value_caught != evaluate(without, scores, 0.5).value_caught  # NaN
