"""Merchant risk: only what was known on the day, in training and in the stream alike."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from fraud_core.labels import LABEL_COLUMNS
from fraud_core.merchant_risk import (
    MERCHANT_FEATURES,
    PUBLISHED_AFTER_MS,
    WINDOW_DAYS,
    MerchantRisk,
    effective_times,
    merchant_risk,
)
from fraud_core.timestamps import DAY_MS, HOUR_MS

DELAY = 7


@st.composite
def histories(draw):
    payments = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60 * 24 - 1)), min_size=1, max_size=40))
    transactions = pl.DataFrame(
        [(f"t{i}", f"m{merchant}", hour * HOUR_MS) for i, (merchant, hour) in enumerate(payments)],
        schema={"transaction_id": pl.String, "merchant_id": pl.String, "event_time_ms": pl.Int64},
        orient="row",
    )
    verdicts = draw(
        st.lists(st.tuples(st.integers(0, len(payments) - 1), st.booleans(), st.integers(0, 70 * 24)), max_size=30)
    )
    labels = pl.DataFrame(
        [(f"t{i}", is_fraud, "analyst", hour * HOUR_MS, 0, n) for n, (i, is_fraud, hour) in enumerate(verdicts)],
        schema=LABEL_COLUMNS,
        orient="row",
    )
    return transactions, labels


@given(histories(), st.integers(0, 80))
def test_a_table_counts_what_was_known_at_its_day_and_nothing_later(history, day):
    """Recomputed by the sentence: labels known at 00:00, windows of whole days that end a label delay before."""
    transactions, labels = history
    table = merchant_risk(transactions, labels, [day * DAY_MS + PUBLISHED_AFTER_MS], DELAY)
    computed = {row["merchant_id"]: row for row in table.to_dicts()}
    end = (day - DELAY) * DAY_MS
    for merchant in transactions["merchant_id"].unique():
        for window in WINDOW_DAYS:
            ids = [
                row["transaction_id"]
                for row in transactions.to_dicts()
                if row["merchant_id"] == merchant and end - window * DAY_MS <= row["event_time_ms"] < end
            ]
            frauds = sum(_last_word(labels, transaction_id, day * DAY_MS) for transaction_id in ids)
            row = computed.get(merchant, dict.fromkeys(MERCHANT_FEATURES, 0.0))
            assert row[f"merchant_transactions_{window}d"] == len(ids)
            assert row[f"merchant_fraud_rate_{window}d"] == (frauds / len(ids) if ids else 0.0)


def _last_word(labels: pl.DataFrame, transaction_id: str, at_ms: int) -> bool:
    known = [
        row for row in labels.to_dicts() if row["transaction_id"] == transaction_id and row["label_time_ms"] <= at_ms
    ]
    return bool(known) and max(known, key=lambda row: (row["label_time_ms"], row["offset"]))["is_fraud"]


@given(histories())
def test_one_call_for_many_days_equals_a_call_a_day(history):
    transactions, labels = history
    times = effective_times(0, 75 * DAY_MS)
    together = merchant_risk(transactions, labels, times, DELAY)
    apart = pl.concat([merchant_risk(transactions, labels, [time_ms], DELAY) for time_ms in times])
    assert together.sort("effective_from_ms", "merchant_id").equals(apart.sort("effective_from_ms", "merchant_id"))


def test_a_row_looks_up_the_newest_table_in_force_and_an_unknown_merchant_gets_zeros():
    row = dict.fromkeys(MERCHANT_FEATURES, 0.0)
    table = pl.DataFrame(
        [
            {"effective_from_ms": 100, "merchant_id": "m", **row, "merchant_fraud_rate_7d": 0.1},
            {"effective_from_ms": 200, "merchant_id": "m", **row, "merchant_fraud_rate_7d": 0.2},
        ]
    )
    risk = MerchantRisk.from_table(table)
    rate = MERCHANT_FEATURES.index("merchant_fraud_rate_7d")
    found = risk.lookup(["m", "m", "m", "m", "x"], [99, 100, 199, 200, 300])
    assert found[:, rate].tolist() == [0.0, 0.1, 0.1, 0.2, 0.0]
    assert risk.effective_from([99, 100, 300]) == [None, 100, 200]
    assert np.array_equal(MerchantRisk.empty().lookup(["m"], [5]), np.zeros((1, len(MERCHANT_FEATURES))))
