"""One function, two callers: what the stream computes in micro-batches equals what training computes in one go."""

import itertools
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fraud_assets_tests.core.streams import RATES, START_MS, cuts, streams
from fraud_core.features import table
from fraud_core.features.exchange_rates import NO_RATES
from fraud_core.features.fold import WINDOWS
from fraud_core.features.history import ENTRY, FORGET_AFTER_MS, HEADER, last_arrival
from fraud_core.features.merchant_risk import MerchantRisk
from fraud_core.features.table import FEATURES, compute_features, users_of
from fraud_core.payments.transaction import COLUMNS

NO_RISK = MerchantRisk.empty()


def in_arrival_order(stream: pl.DataFrame) -> pl.DataFrame:
    return stream.sort("offset")


def run_in_batches(stream: pl.DataFrame, positions: list[int], replays: int = 0) -> np.ndarray:
    """Features (n, len(FEATURES)) in order of arrival."""
    return in_batches(stream, positions, replays)["values"].to_numpy()


def repeats_in_batches(stream: pl.DataFrame, positions: list[int], replays: int) -> list[tuple[int, bool]]:
    """Offset of each, and whether it is a repeat."""
    return in_batches(stream, positions, replays).select("offset", "is_repeat").rows()


def in_batches(stream: pl.DataFrame, positions: list[int], replays: int) -> pl.DataFrame:
    """Score the stream as the job does: histories from a store, every batch ``replays`` times more, store kept."""
    store: dict[tuple[int, str], bytes] = {}
    values = []
    for begin, end in itertools.pairwise(positions):
        batch = in_arrival_order(stream)[begin:end].sort("partition", "offset")
        attempts = []
        for _ in range(1 + replays):
            result = compute_features(batch, [store.get(user) for user in users_of(batch)], NO_RISK, RATES)
            store.update(zip(result.users, result.new_histories(), strict=True))
            attempts.append(batch.select("offset").with_columns(values=result.values, is_repeat=result.is_repeat))
        assert all(attempt.equals(attempts[0]) for attempt in attempts)
        values.append(attempts[0])
    return pl.concat(values).sort("offset")


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


def with_earlier(stream: pl.DataFrame) -> Iterator[tuple[dict, np.ndarray, list[dict], bool]]:
    """Each row, its features, the arrivals it may look at, newest first, and whether it is a repeat: row by row from
    the sentences in the modules."""
    histories: dict[tuple[int, str], list[dict]] = defaultdict(list)
    ordered = in_arrival_order(stream)
    converted = RATES.convert(ordered)
    ordered = ordered.with_columns(
        converted=converted.amount_minor, comparable_with=converted.comparable_with, units=converted.units
    )
    for row, computed in zip(ordered.to_dicts(), run_at_once(stream), strict=True):
        history = histories[row["partition"], row["user_id"]]
        newest = max((one["event_time_ms"] for one in history), default=0)
        visible = [
            one for one in reversed(history[-table.MAX_ENTRIES :]) if one["event_time_ms"] >= newest - table.MAX_AGE_MS
        ]
        since_ms = row["event_time_ms"] - WINDOWS["30d"]
        is_repeat = any(
            one["transaction_id"] == row["transaction_id"] and one["event_time_ms"] >= since_ms for one in visible
        )
        yield row, computed, [one for one in visible if one["transaction_id"] != row["transaction_id"]], is_repeat
        if not is_repeat:
            history.append(row)


def within(row: dict, earlier: list[dict], length_ms: int) -> list[dict]:
    return [one for one in earlier if row["event_time_ms"] - length_ms <= one["event_time_ms"] <= row["event_time_ms"]]


def is_refund(one: dict) -> bool:
    return one["amount_minor"] < 0 or one["type"] in ("refund", "reversal")


def is_verification(one: dict) -> bool:
    return (one["amount_minor"] == 0 or one["type"] == "verification") and not is_refund(one)


@given(st.data())
def test_forgetting_a_card_that_was_silent_for_long_changes_no_bit_of_a_payment_that_is_not_a_month_late(data):
    late_ms = FORGET_AFTER_MS - WINDOWS["30d"]
    of_partition = data.draw(streams()).filter(pl.col("partition") == 0)
    stream = of_partition.filter(pl.col("event_time_ms") >= pl.col("event_time_ms").cum_max() - late_ms)
    assume(len(stream))
    store: dict[tuple[int, str], bytes] = {}
    values = []
    for row in stream.iter_slices(1):
        newest_ms = max([last_arrival(blob)[1] for blob in store.values()], default=0)
        store = {user: blob for user, blob in store.items() if last_arrival(blob)[1] >= newest_ms - FORGET_AFTER_MS}
        result = compute_features(row, [store.get(user) for user in users_of(row)], NO_RISK, RATES)
        store.update(zip(result.users, result.new_histories(), strict=True))
        assert result.is_repeat[0] or last_arrival(store[result.users[0]])[0] == row["offset"][0]
        values.append(result.values[0])
    assert np.array_equal(np.array(values), run_at_once(stream))


@given(streams())
def test_windows_equal_their_definition(stream):
    for row, computed, earlier, _ in with_earlier(stream):
        for window, length_ms in WINDOWS.items():
            seen = [
                one for one in within(row, earlier, length_ms) if one["outcome"] != "declined" and not is_refund(one)
            ]
            units = row["units"]
            amounts = [one["converted"] for one in seen if one["comparable_with"] == row["comparable_with"]]
            assert computed[FEATURES.index(f"rolling_count_{window}")] == len(seen)
            assert computed[FEATURES.index(f"rolling_sum_{window}")] == sum(amounts) / units
            mean = sum(amounts) / len(amounts) / units if amounts else row["converted"] / units
            assert computed[FEATURES.index(f"rolling_avg_{window}")] == mean


@given(streams())
def test_declines_verifications_and_visits_equal_their_definition(stream):
    for row, computed, earlier, _ in with_earlier(stream):
        hour, day, month = (within(row, earlier, WINDOWS[window]) for window in ("1h", "24h", "30d"))
        declined = [one for one in day if one["outcome"] == "declined"]
        expected = {
            "is_refund": is_refund(row),
            "is_verification": is_verification(row),
            "declined_count_1h": sum(one["outcome"] == "declined" for one in hour),
            "declined_count_24h": len(declined),
            "declined_share_24h": len(declined) / len(day) if day else 0.0,
            "verification_count_24h": sum(map(is_verification, day)),
            **{
                f"{what}_visits_30d": sum(one[name] == row[name] is not None for one in month)
                for what, name in (("merchant", "merchant_id"), ("country", "country"), ("device", "device_id"))
            },
            "seconds_since_last": min(
                (row["event_time_ms"] - one["event_time_ms"] for one in month), default=WINDOWS["30d"]
            )
            / 1000,
        }
        assert {name: computed[FEATURES.index(name)] for name in expected} == expected


@given(st.data())
def test_the_same_payments_are_repeats_in_whatever_micro_batches(data):
    stream = data.draw(streams())
    repeated = [(row["offset"], is_repeat) for row, _, _, is_repeat in with_earlier(stream)]
    assert repeats_in_batches(stream, data.draw(cuts(len(stream))), replays=1) == repeated


def test_a_repeat_is_decided_as_if_the_first_had_not_been_and_changes_nothing_for_others():
    events = [(0, 1000), (1000, 3000), (1000, 3000), (2000, 500)]
    stream = _one_user(events).with_columns(transaction_id=pl.Series(["a", "b", "b", "c"]))
    result = compute_features(stream, None, NO_RISK, NO_RATES)
    assert result.is_repeat.tolist() == [False, False, True, False]
    assert result.values[2].tolist() == result.values[1].tolist()
    without = compute_features(stream.filter(pl.int_range(4) != 2), None, NO_RISK, NO_RATES)
    assert without.values[2].tolist() == result.values[3].tolist()
    assert [len(blob) for blob in result.new_histories()] == [len(blob) for blob in without.new_histories()]


@pytest.mark.parametrize(("after_ms", "is_repeat"), [(-1, True), (WINDOWS["30d"], True), (WINDOWS["30d"] + 1, False)])
def test_an_id_of_more_than_30_days_ago_is_that_of_another_payment(after_ms, is_repeat):
    """However long the card was silent: by then its history may be forgotten."""
    stream = _one_user([(0, 1000), (after_ms, 1000)]).with_columns(transaction_id=pl.lit("a"))
    assert compute_features(stream, None, NO_RISK, NO_RATES).is_repeat.tolist() == [False, is_repeat]


def test_another_user_or_partition_with_the_same_transaction_id_is_no_repeat():
    stream = _one_user([(0, 1000)] * 3).with_columns(
        transaction_id=pl.lit("a"), user_id=pl.Series(["u", "v", "u"]), partition=pl.Series([0, 0, 1], dtype=pl.Int32)
    )
    assert not compute_features(stream, None, NO_RISK, NO_RATES).is_repeat.any()


def test_of_two_payments_in_the_same_millisecond_the_earlier_arrival_counts_for_the_later():
    values = run_at_once(_one_user([(0, 1000), (0, 3000), (0, 500)]))
    assert values[:, FEATURES.index("rolling_count_1h")].tolist() == [0, 1, 2]
    assert values[:, FEATURES.index("seconds_since_last")].tolist() == [30 * 86400, 0, 0]


def test_two_places_in_the_same_millisecond_are_as_far_apart_as_in_the_same_minute():
    there = {"latitude": pl.Series([52.5, 48.1]), "longitude": pl.Series([13.4, 11.6])}
    at_once, in_a_minute = (run_at_once(_one_user([(0, 1), (ms, 1)]).with_columns(**there))[1] for ms in (0, 60_000))
    for name in ("distance_km", "implied_speed_kmh"):
        assert at_once[FEATURES.index(name)] == in_a_minute[FEATURES.index(name)] > 0


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
