"""The features of a transaction: the one function that training and the stream both call.

A feature of transaction e covers the user's transactions that *arrived before* e (lower Kafka offset) with event time
in [t - window, t). A replay therefore computes the same bits, a late transaction counts for whoever arrives after it,
and the transaction itself is never counted. Without history every feature has a defined value: mean = own amount,
ratio 1, count 0, longest window as the time since the last transaction. Nothing is ever NaN.

To add a feature: name it in ``_USER_FEATURES`` (or ``_OWN_FEATURES``) and compute it at the same place in the function
below. FEATURE_HASH changes with the names; bump DEFINITION when a meaning changes under an unchanged name.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import polars as pl
import xxhash

from fraud_core.features.history import ENTRY, MAX_AGE_MS, MAX_ENTRIES, NEVER_MS, empty_headers, pack, unpack
from fraud_core.features.merchant_risk import MERCHANT_FEATURES, MerchantHistory, MerchantRisk
from fraud_core.timestamps import DAY_MS, HOUR_MS

DEFINITION = 1

WINDOWS = {"1h": HOUR_MS, "24h": 24 * HOUR_MS, "7d": 7 * DAY_MS, "30d": 30 * DAY_MS}
_WINDOWS_MS = np.array(list(WINDOWS.values()), dtype=np.int64)

_OWN_FEATURES = ("amount", "hour_of_day", "day_of_week", "is_online")
_USER_FEATURES = (
    *(f"rolling_{what}_{window}" for window in WINDOWS for what in ("count", "sum", "avg", "std")),
    "amount_to_avg_ratio_24h",
    "amount_to_avg_ratio",
    "amount_to_avg_ratio_30d",
    "amount_to_max_ratio_30d",
    "amount_zscore_30d",
    "seconds_since_last",
    "merchant_visits_30d",
    "country_visits_30d",
    "device_visits_30d",
    "distance_km",
    "implied_speed_kmh",
)
FEATURES: tuple[str, ...] = (*_OWN_FEATURES, *_USER_FEATURES, *MERCHANT_FEATURES)

FEATURE_HASH = hashlib.sha256(
    json.dumps([DEFINITION, FEATURES, list(WINDOWS.values()), MAX_ENTRIES, MAX_AGE_MS]).encode()
).hexdigest()[:16]


def users_of(transactions: pl.DataFrame) -> list[str]:
    """The distinct users in order of first appearance: whose histories ``compute_features`` wants."""
    return transactions["user_id"].unique(maintain_order=True).to_list()


@dataclass(frozen=True)
class FeatureBatch:
    """``values``: (n, len(FEATURES)) float64 in the order of the rows; ``users``: the distinct users of the batch."""

    values: np.ndarray
    users: list[str]
    _headers: np.ndarray
    _entries: np.ndarray
    _is_kept: np.ndarray
    _starts: np.ndarray

    def new_histories(self) -> list[bytes]:
        """The users' histories after this batch, aligned with ``users``. Writing them twice changes nothing."""
        kept_before = np.concatenate([[0], np.cumsum(self._is_kept)])
        return pack(self._headers, self._entries[self._is_kept], np.diff(kept_before[self._starts]))


def compute_features(
    transactions: pl.DataFrame, histories: Sequence[bytes | None] | None, risk: MerchantRisk | MerchantHistory
) -> FeatureBatch:
    """Point-in-time features of each row of ``transactions``.

    transactions : (n, k) with transaction.COLUMNS, sorted by partition and offset (arrival order).
    histories : one blob (or None) per user of ``users_of(transactions)``; None when the rows hold all there is.
    risk : published tables (the stream), or what they are made from (training): both give the same bits.
    Raises ValueError when a history is further than this batch: the batch's state before it is no longer in the store.
    """
    users, user_of_row = _users_and_codes(transactions)
    arrivals = _arrivals(transactions)
    if histories is None:
        headers, old, old_counts = empty_headers(len(users)), np.zeros(0, ENTRY), np.zeros(len(users), np.int64)
    else:
        headers, old, old_counts = unpack(histories)

    order = np.argsort(user_of_row, kind="stable")
    new_counts = np.bincount(user_of_row, minlength=len(users))
    new_first = np.concatenate([[0], np.cumsum(new_counts)])[:-1]
    first_offset = arrivals["offset"][order[new_first]] if len(users) else np.zeros(0, np.int64)
    if (headers["before_offset"] > first_offset).any():
        raise ValueError(
            "the online store is ahead of the stream's checkpoint: empty the store and let the job rebuild it, "
            "or restore the checkpoint that belongs to it"
        )

    # Entries of the batch itself are in the store when the batch is replayed: only lower offsets are history.
    old_user = np.repeat(np.arange(len(users)), old_counts)
    is_before = old["offset"] < first_offset[old_user]
    old, old_user = old[is_before], old_user[is_before]
    old_counts = np.bincount(old_user, minlength=len(users))

    starts = np.concatenate([[0], np.cumsum(old_counts + new_counts)])
    entries = np.zeros(starts[-1], ENTRY)
    old_first = np.concatenate([[0], np.cumsum(old_counts)])[:-1]
    entries[np.arange(len(old)) + (starts[:-1] - old_first)[old_user]] = old
    new_user = user_of_row[order]
    place = np.arange(len(order)) + (starts[:-1] + old_counts - new_first)[new_user]
    entries[place] = arrivals[order]

    is_kept = np.ones(len(entries), np.bool_)
    at_place = np.empty((len(entries), len(_USER_FEATURES)))
    _fold(
        MAX_ENTRIES,  # as arguments: a constant compiled in would outlive a change of it in numba's cache
        MAX_AGE_MS,
        starts,
        starts[:-1] + old_counts,
        *(np.ascontiguousarray(entries[name]) for name in ("time_ms", "offset", "amount_cents")),
        *(np.ascontiguousarray(entries[name]) for name in ("merchant", "device", "country", "latitude", "longitude")),
        arrival := np.ascontiguousarray(entries["arrival"]),
        arrivals_before := headers["arrivals"].copy(),
        newest_before := headers["newest_ms"].copy(),
        headers["before_offset"].copy(),
        is_kept,
        at_place,
    )
    entries["arrival"] = arrival
    headers["arrivals"], headers["newest_ms"], headers["before_offset"] = arrivals_before, newest_before, first_offset

    values = np.empty((len(order), len(FEATURES)))
    values[order, len(_OWN_FEATURES) : len(_OWN_FEATURES) + len(_USER_FEATURES)] = at_place[place]
    values[:, : len(_OWN_FEATURES)] = _own_features(transactions)
    values[:, -len(MERCHANT_FEATURES) :] = risk.lookup(transactions["merchant_id"], transactions["event_time_ms"])
    return FeatureBatch(values, users, headers, entries, is_kept, starts)


def _users_and_codes(transactions: pl.DataFrame) -> tuple[list[str], np.ndarray]:
    """``users_of(transactions)`` and the position of each row's user in it."""
    encoded = transactions["user_id"].to_arrow().dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)


def _arrivals(transactions: pl.DataFrame) -> np.ndarray:
    arrivals = np.zeros(len(transactions), ENTRY)
    for name, column in (("time_ms", "event_time_ms"), ("offset", "offset"), ("amount_cents", "amount_cents")):
        arrivals[name] = transactions[column].to_numpy()
    for name, column in (("merchant", "merchant_id"), ("device", "device_id"), ("country", "country")):
        arrivals[name] = _codes(transactions[column])
    for name in ("latitude", "longitude"):
        arrivals[name] = transactions[name].fill_null(np.nan).to_numpy()
    return arrivals


def _codes(names: pl.Series) -> np.ndarray:
    """Stable 32-bit codes of names; 0 for a missing one. They are stored, so they must not depend on the process."""
    encoded = names.to_arrow().dictionary_encode()
    codes = [xxhash.xxh32_intdigest(name.encode()) for name in encoded.dictionary.to_pylist()]
    return np.array([*codes, 0], dtype=np.uint32)[encoded.indices.fill_null(-1).to_numpy()]


def _own_features(transactions: pl.DataFrame) -> np.ndarray:
    time_ms = transactions["event_time_ms"].to_numpy()
    days = time_ms // DAY_MS
    return np.column_stack(
        [
            transactions["amount_cents"].to_numpy() / 100.0,
            (time_ms - days * DAY_MS) / HOUR_MS,
            (days + 3) % 7,  # 1970-01-01 was a Thursday; Monday is 0
            (transactions["channel"] == "online").fill_null(False).to_numpy(),
        ]
    )


@numba.njit(cache=True)
def _distance_km(latitude_a, longitude_a, latitude_b, longitude_b):
    """Great-circle distance by the haversine formula, in km; degrees in."""
    to_radians = np.pi / 180.0
    half_lat = np.sin((latitude_b - latitude_a) * to_radians / 2)
    half_lon = np.sin((longitude_b - longitude_a) * to_radians / 2)
    cosines = np.cos(latitude_a * to_radians) * np.cos(latitude_b * to_radians)
    return 2 * 6371.0 * np.arcsin(min(1.0, np.sqrt(half_lat * half_lat + cosines * half_lon * half_lon)))


@numba.njit(cache=True)
def _fold(
    max_entries,
    max_age_ms,
    starts,
    first_new,
    time_ms,
    offset,
    amount_cents,
    merchant,
    device,
    country,
    latitude,
    longitude,
    arrival,
    arrivals_before,
    newest_before,
    before_offset,
    is_kept,
    out,
):
    """Walk each user's entries in arrival order; fill ``out`` for the new ones.

    Entries of user u are [starts[u], starts[u + 1]); those from first_new[u] on are new. On return ``arrivals_before``
    and ``newest_before`` describe the state before the batch, ``is_kept`` what of it the batch's first transaction
    could see. Older entries are scanned newest arrival first, so float sums have one order, whoever calls.
    """
    n_windows = len(_WINDOWS_MS)
    longest = _WINDOWS_MS[n_windows - 1]
    counts = np.empty(n_windows, np.int64)
    sums = np.empty(n_windows, np.int64)
    squares = np.empty(n_windows, np.float64)
    for user in range(len(starts) - 1):
        begin, split, end = starts[user], first_new[user], starts[user + 1]
        seen, newest = arrivals_before[user], newest_before[user]
        for i in range(begin, split):
            if offset[i] >= before_offset[user]:
                seen += 1
                newest = max(newest, time_ms[i])
        arrivals_before[user], newest_before[user] = seen, newest
        for i in range(begin, split):
            is_kept[i] = seen - np.int64(arrival[i]) <= max_entries and time_ms[i] >= newest - max_age_ms

        for i in range(split, end):
            arrival[i] = seen
            t, own = time_ms[i], amount_cents[i] / 100.0
            counts[:], sums[:], squares[:] = 0, 0, 0.0
            merchant_visits, country_visits, device_visits, largest = 0, 0, 0, 0
            last_ms, located, located_ms = NEVER_MS, -1, NEVER_MS
            for j in range(i - 1, begin - 1, -1):
                if seen - np.int64(arrival[j]) > max_entries:
                    break
                age = t - time_ms[j]
                if age <= 0 or age > longest or time_ms[j] < newest - max_age_ms:
                    continue
                cents = amount_cents[j]
                for w in range(n_windows - 1, -1, -1):
                    if age > _WINDOWS_MS[w]:
                        break
                    counts[w] += 1
                    sums[w] += cents
                    squares[w] += float(cents) * float(cents)
                merchant_visits += merchant[j] == merchant[i]
                country_visits += country[j] == country[i]
                device_visits += device[j] == device[i]
                largest = max(largest, cents)
                last_ms = max(last_ms, time_ms[j])
                if time_ms[j] > located_ms and not np.isnan(latitude[j]) and not np.isnan(longitude[j]):
                    located, located_ms = j, time_ms[j]

            column = 0
            for w in range(n_windows):
                mean, std = own, 0.0
                if counts[w] > 0:
                    mean_cents = sums[w] / counts[w]
                    mean = mean_cents / 100.0
                    std = np.sqrt(max(0.0, squares[w] / counts[w] - mean_cents * mean_cents)) / 100.0
                out[i, column] = counts[w]
                out[i, column + 1] = sums[w] / 100.0
                out[i, column + 2] = mean
                out[i, column + 3] = std
                column += 4
            mean_30d, std_30d = out[i, column - 2], out[i, column - 1]
            out[i, column] = own / out[i, 4 * 1 + 2]  # mean of 24h
            out[i, column + 1] = own / out[i, 4 * 2 + 2]  # of 7d
            out[i, column + 2] = own / mean_30d
            out[i, column + 3] = own * 100.0 / largest if largest > 0 else 1.0
            # A cent in the denominator keeps a user who always pays the same amount finite.
            out[i, column + 4] = (own - mean_30d) / (std_30d + 0.01)
            out[i, column + 5] = (t - last_ms if last_ms > NEVER_MS else longest) / 1000.0
            out[i, column + 6] = merchant_visits
            out[i, column + 7] = country_visits
            out[i, column + 8] = device_visits
            distance, speed = 0.0, 0.0
            if located >= 0 and not np.isnan(latitude[i]) and not np.isnan(longitude[i]):
                distance = _distance_km(
                    np.float64(latitude[located]),
                    np.float64(longitude[located]),
                    np.float64(latitude[i]),
                    np.float64(longitude[i]),
                )
                # At least a minute: two terminals a street apart in the same second are not a flight.
                speed = distance / (max(t - located_ms, 60_000) / 3_600_000.0)
            out[i, column + 9] = distance
            out[i, column + 10] = speed
            seen += 1
            newest = max(newest, t)
