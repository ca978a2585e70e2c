"""Merchant risk: only what was known at the hour, in training and in the stream alike."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from fraud_core.features.merchant_risk import (
    EVERY_MS,
    KEPT_TABLES,
    MERCHANT_FEATURES,
    PUBLISHED_AFTER_MS,
    UNKNOWN_MERCHANT,
    WINDOW_DAYS,
    MerchantHistory,
    MerchantRisk,
    newest_effective_times,
    rows_of_table,
)
from fraud_core.labels.known import LABEL_COLUMNS
from fraud_core.timestamps import DAY_MS, HOUR_MS

DELAY = 7
PAYMENTS = {"transaction_id": pl.String, "merchant_id": pl.String, "event_time_ms": pl.Int64}


@st.composite
def histories(draw):
    payments = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60 * 24 - 1)), min_size=1, max_size=40))
    transactions = pl.DataFrame(
        [(f"t{i}", f"m{merchant}", hour * HOUR_MS) for i, (merchant, hour) in enumerate(payments)],
        schema=PAYMENTS,
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


@given(histories(), st.integers(0, 80 * 24))
def test_a_table_holds_what_was_known_at_its_hour_and_nothing_later(history, hour):
    """Recomputed by the sentence: labels known at the hour, windows that end a label delay before it."""
    transactions, labels = history
    as_of = hour * HOUR_MS
    table = MerchantHistory(transactions, labels, DELAY).table(as_of + PUBLISHED_AFTER_MS)
    computed = {row["merchant_id"]: row for row in table.to_dicts()}
    unknown = dict(zip(MERCHANT_FEATURES, UNKNOWN_MERCHANT.tolist(), strict=True))
    end = as_of - DELAY * DAY_MS
    for merchant in transactions["merchant_id"].unique():
        row = computed.get(merchant, unknown)
        paid = transactions.filter(pl.col("merchant_id") == merchant).to_dicts()
        for window in WINDOW_DAYS:
            inside = [payment for payment in paid if end - window * DAY_MS <= payment["event_time_ms"] < end]
            frauds = [payment for payment in inside if _last_word(labels, payment["transaction_id"], as_of)]
            assert row[f"merchant_transactions_{window}d"] == len(inside)
            assert row[f"merchant_fraud_rate_{window}d"] == (len(frauds) / len(inside) if inside else 0.0)
        times = [payment["event_time_ms"] for payment in frauds] or [end - WINDOW_DAYS[-1] * DAY_MS]
        since_first = [payment for payment in inside if payment["event_time_ms"] >= min(times)]
        assert row["merchant_days_since_fraud"] == (end - max(times)) / DAY_MS
        assert row["merchant_days_since_first_fraud"] == (end - min(times)) / DAY_MS
        assert row["merchant_fraud_rate_since_first_fraud"] == (len(frauds) / len(since_first) if frauds else 0.0)


def _last_word(labels: pl.DataFrame, transaction_id: str, at_ms: int) -> bool:
    known = [
        row for row in labels.to_dicts() if row["transaction_id"] == transaction_id and row["label_time_ms"] <= at_ms
    ]
    return bool(known) and max(known, key=lambda row: (row["label_time_ms"], row["offset"]))["is_fraud"]


@given(histories(), st.lists(st.integers(29 * DAY_MS, 60 * DAY_MS), min_size=1, max_size=20))
def test_training_finds_to_the_bit_what_the_stream_looks_up_in_the_published_tables(history, times):
    transactions, labels = history
    history = MerchantHistory(transactions, labels, DELAY)
    merchants = transactions["merchant_id"].unique(maintain_order=True)
    merchants = merchants.gather([at % len(merchants) for at in range(len(times))])
    # The tables of the hours around: that one is looked up whose hour it is.
    hours = {(time_ms - PUBLISHED_AFTER_MS) // EVERY_MS + near for time_ms in times for near in (-1, 0, 1)}
    effective = [hour * EVERY_MS + PUBLISHED_AFTER_MS for hour in hours]
    published = MerchantRisk({time_ms: rows_of_table(history.table(time_ms)) for time_ms in effective})
    assert np.array_equal(history.lookup(merchants, pl.Series(times)), published.lookup(merchants, times))


@given(histories(), st.data())
def test_a_payment_that_was_sent_again_counts_once_whatever_the_order(history, data):
    transactions, labels = history
    again = transactions.sample(data.draw(st.integers(1, len(transactions))), seed=1)
    repeated = pl.concat([transactions, again.with_columns(pl.col("event_time_ms") + HOUR_MS)])
    at_ms = data.draw(st.integers(0, 80 * 24)) * HOUR_MS + PUBLISHED_AFTER_MS
    shuffled = repeated.sample(fraction=1, shuffle=True, seed=1)
    once, twice = (MerchantHistory(rows, labels, DELAY).table(at_ms) for rows in (transactions, shuffled))
    assert twice.equals(once)


def test_the_newest_tables_end_with_the_one_made_at_the_last_full_hour():
    times = newest_effective_times(100 * HOUR_MS + 59)
    assert times[-1] == 100 * HOUR_MS + PUBLISHED_AFTER_MS
    assert np.array_equal(np.diff(times), [EVERY_MS] * (KEPT_TABLES - 1))


def test_a_row_looks_up_the_newest_table_in_force_and_an_unknown_merchant_has_no_history():
    row = dict.fromkeys(MERCHANT_FEATURES, 0.0)
    tables = {
        time_ms: pl.DataFrame([{"merchant_id": "m", **row, "merchant_fraud_rate_7d": rate}])
        for time_ms, rate in ((100, 0.1), (200, 0.2))
    }
    risk = MerchantRisk({time_ms: rows_of_table(table) for time_ms, table in tables.items()})
    rate = MERCHANT_FEATURES.index("merchant_fraud_rate_7d")
    found = risk.lookup(["m", "m", "m", "m", "x"], [99, 100, 199, 200, 300])
    assert found[:, rate].tolist() == [0.0, 0.1, 0.1, 0.2, 0.0]
    assert risk.effective_from([99, 100, 300]) == [None, 100, 200]
    assert np.array_equal(found[[0, 4]], [UNKNOWN_MERCHANT] * 2)
    assert np.array_equal(MerchantRisk.empty().lookup(["m"], [5]), [UNKNOWN_MERCHANT])


def test_without_a_transaction_there_is_no_table_and_nothing_to_look_up():
    nothing = MerchantHistory(pl.DataFrame(schema=PAYMENTS), pl.DataFrame(schema=LABEL_COLUMNS), DELAY)
    assert nothing.table(HOUR_MS).is_empty()
    assert nothing.lookup(pl.Series([], dtype=pl.String), pl.Series([], dtype=pl.Int64)).shape == (
        0,
        len(MERCHANT_FEATURES),
    )
