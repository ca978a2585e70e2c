"""One function, two callers: what the stream computes in micro-batches equals what training computes in one go."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_assets_tests.core.streams import RATES, START_MS, cuts, streams
from fraud_core.features import table
from fraud_core.features.exchange_rates import NO_RATES
from fraud_core.features.fold import WINDOWS
from fraud_core.features.history import ENTRY, HEADER
from fraud_core.features.merchant_risk import MerchantRisk
from fraud_core.features.table import FEATURES, compute_features, users_of
from fraud_core.payments.transaction import COLUMNS

NO_RISK = MerchantRisk.empty()


def in_arrival_order(stream: pl.DataFrame) -> pl.DataFrame:
    return stream.sort("offset")


def run_in_batches(stream: pl.DataFrame, positions: list[int], replays: int = 0) -> np.ndarray:
    """Score the stream as the job does: histories from a store, every batch ``replays`` times more, store kept."""
    store: dict[str, bytes] = {}
    values = []
    for begin, end in itertools.pairwise(positions):
        batch = in_arrival_order(stream)[begin:end].sort("partition", "offset")
        attempts = []
        for _ in range(1 + replays):
            result = compute_features(batch, [store.get(user) for user in users_of(batch)], NO_RISK, RATES)
            store.update(zip(result.users, result.new_histories(), strict=True))
            attempts.append(batch.select("offset").with_columns(values=result.values))
        assert all(attempt.equals(attempts[0]) for attempt in attempts)
        values.append(attempts[0])
    return pl.concat(values).sort("offset")["values"].to_numpy()


def run_at_once(stream: pl.DataFrame) -> np.ndarray:
    values = compute_features(stream, None, NO_RISK, RATES).values
    return stream.select("offset").with_columns(values=values).sort("offset")["values"].to_numpy()


@given(st.data())
def test_micro_batches_equal_one_batch_to_the_bit(data):
    stream = data.draw(streams())
    assert np.array_equal(run_in_batches(stream, data.draw(cuts(len(stream)))), run_at_once(stream))


@given(st.data())
def test_a_replayed_batch_computes_the_same_bits_although_the_store_already_holds_it(data):
    stream = data.draw(streams())
    assert np.array_equal(run_in_batches(stream, data.draw(cuts(len(stream))), replays=2), run_at_once(stream))


@given(st.data())
def test_a_capped_history_keeps_parity_between_batches_and_replays(data):
    stream = data.draw(streams())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "MAX_ENTRIES", 3)
        expected = run_at_once(stream)
        assert np.array_equal(run_in_batches(stream, data.draw(cuts(len(stream))), replays=1), expected)
    counts = expected[:, [FEATURES.index(f"rolling_count_{window}") for window in WINDOWS]]
    assert counts.max() <= 3


@given(streams())
def test_windows_equal_their_definition(stream):
    """Recomputed row by row from the sentence in the module: arrived before, event time in [t - w, t), no refund; of
    amounts, those that compare with the own one."""
    rows = in_arrival_order(stream).with_row_index("row").to_dicts()
    converted = RATES.convert(in_arrival_order(stream))
    values = run_at_once(stream)
    for row, computed in zip(rows, values, strict=True):
        newest = max((r["event_time_ms"] for r in rows if _is_earlier_of_same_user(r, row)), default=0)
        for window, length_ms in WINDOWS.items():
            seen = [
                r["row"]
                for r in rows
                if _is_earlier_of_same_user(r, row)
                and row["event_time_ms"] - length_ms <= r["event_time_ms"] < row["event_time_ms"]
                and r["event_time_ms"] >= newest - table.MAX_AGE_MS
                and r["amount_minor"] >= 0
            ]
            own, units = converted.comparable_with[row["row"]], int(converted.units[row["row"]])
            amounts = [int(converted.amount_minor[r]) for r in seen if converted.comparable_with[r] == own]
            assert computed[FEATURES.index(f"rolling_count_{window}")] == len(seen)
            assert computed[FEATURES.index(f"rolling_sum_{window}")] == sum(amounts) / units
            mean = sum(amounts) / len(amounts) / units if amounts else converted.amount_minor[row["row"]] / units
            assert computed[FEATURES.index(f"rolling_avg_{window}")] == mean


def _is_earlier_of_same_user(other: dict, row: dict) -> bool:
    return other["user_id"] == row["user_id"] and other["offset"] < row["offset"]


@given(streams())
def test_every_feature_is_finite(stream):
    assert np.isfinite(run_at_once(stream)).all()


def test_a_first_transaction_has_the_defined_values_of_no_history():
    stream = in_arrival_order(_one_user([(0, 1250)]))
    row = dict(zip(FEATURES, run_at_once(stream)[0], strict=True))
    assert row["amount"] == row["rolling_avg_7d"] == 12.5
    assert row["amount_to_avg_ratio"] == 1.0
    assert row["rolling_count_30d"] == row["rolling_std_30d"] == row["implied_speed_kmh"] == 0.0
    assert row["seconds_since_last"] == 30 * 86400


def test_a_payment_after_verifications_of_the_account_is_large_against_a_cent():
    stream = in_arrival_order(_one_user([(0, 0), (1000, 0), (2000, 1250)]))
    of_second, of_payment = (dict(zip(FEATURES, row, strict=True)) for row in run_at_once(stream)[1:])
    assert of_second["rolling_count_1h"] == of_second["amount_to_avg_ratio"] == 1.0
    assert of_payment["amount_to_avg_ratio"] == 1250.0


def test_a_refund_is_seen_but_not_spent():
    stream = in_arrival_order(_one_user([(0, 1000), (1000, -1000), (2000, 1000)]))
    after_refund = dict(zip(FEATURES, run_at_once(stream)[2], strict=True))
    assert after_refund["rolling_sum_1h"] == after_refund["rolling_avg_7d"] == 10.0
    assert after_refund["rolling_count_1h"] == after_refund["amount_to_max_ratio_30d"] == 1.0
    assert after_refund["seconds_since_last"] == 1.0
    assert after_refund["merchant_visits_30d"] == 2.0


def test_a_store_ahead_of_the_checkpoint_is_refused():
    stream = _one_user([(0, 100), (1000, 200), (2000, 300)])
    first = compute_features(stream[:1], [None], NO_RISK, NO_RATES)
    last = compute_features(stream[1:], first.new_histories(), NO_RISK, NO_RATES)
    with pytest.raises(ValueError, match="ahead of the stream's checkpoint"):
        compute_features(stream[:1], last.new_histories(), NO_RISK, NO_RATES)


def test_history_is_bounded_in_age_and_number():
    stream = _one_user([(minute * 60_000, 100) for minute in range(5000)])
    blob = None
    for begin in range(0, 5000, 100):
        result = compute_features(stream[begin : begin + 100], [blob], NO_RISK, NO_RATES)
        (blob,) = result.new_histories()
    assert len(blob) <= HEADER.itemsize + ENTRY.itemsize * (table.MAX_ENTRIES + 100)


def _one_user(events: list[tuple[int, int]]) -> pl.DataFrame:
    rows = [
        {
            "partition": 0,
            "offset": offset,
            "ingest_time_ms": START_MS,
            "transaction_id": f"t{offset}",
            "user_id": "u",
            "merchant_id": "m",
            "amount_minor": cents,
            "currency": "EUR",
            "event_time_ms": START_MS + after_ms,
        }
        for offset, (after_ms, cents) in enumerate(events)
    ]
    return pl.DataFrame(rows, schema=COLUMNS)
