"""The features of a transaction: the one function that training and the stream both call.

A feature of transaction e covers the user's transactions that *arrived before* e (lower Kafka offset, in the same
partition: offsets of two partitions have no order) with event time in [t - window, t]. A replay therefore computes the
same bits, a late transaction counts for whoever arrives after it, and the transaction itself is never counted. Without
history every feature has a defined value: mean = own amount, ratio 1, count 0, longest window as the time since the
last transaction. Nothing is ever NaN.

A payment that repeats the transaction_id of an earlier arrival of its user (*repeat*), unless that lies more than the
longest window before it, has features as if that one had not been there, and counts for nobody. What was declined or
went back (refund, reversal) is an event, but nothing spent.

To add a feature: name it in ``_USER_FEATURES`` and compute it at the same place in ``fold``. One that needs no history
goes to ``_OWN_FEATURES`` and ``_own_features``. FEATURE_HASH changes with the names; bump DEFINITION when a meaning
changes under an unchanged name.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import xxhash

from fraud_core.features.exchange_rates import Converted, ExchangeRates
from fraud_core.features.fold import WINDOWS, fold
from fraud_core.features.history import (
    DECLINED,
    ENTRY,
    MAX_AGE_MS,
    MAX_ENTRIES,
    MISSING,
    REFUND,
    VERIFICATION,
    empty_headers,
    pack,
    unpack,
)
from fraud_core.features.merchant_risk import MERCHANT_FEATURES, MerchantHistory, MerchantRisk
from fraud_core.timestamps import DAY_MS, HOUR_MS

DEFINITION = 2

_OWN_FEATURES = (
    "amount",
    "hour_of_day",
    "day_of_week",
    "is_online",
    "is_refund",
    "is_verification",
    "is_foreign_currency",
)
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
    "declined_count_1h",
    "declined_count_24h",
    "declined_share_24h",
    "verification_count_24h",
)
FEATURES: tuple[str, ...] = (*_OWN_FEATURES, *_USER_FEATURES, *MERCHANT_FEATURES)

FEATURE_HASH = hashlib.sha256(
    json.dumps([DEFINITION, FEATURES, list(WINDOWS.values()), MAX_ENTRIES, MAX_AGE_MS]).encode()
).hexdigest()[:16]


User = tuple[int, str]
"""Partition and user_id: a user that a producer spreads over partitions has a history in each."""


def users_of(transactions: pl.DataFrame) -> list[User]:
    """The distinct users in order of first appearance: whose histories ``compute_features`` wants."""
    return _users_and_codes(transactions)[0]


@dataclass(frozen=True)
class FeatureBatch:
    """``values``: (n, len(FEATURES)) float64 in the order of the rows; ``converted``: their amounts; ``is_repeat``:
    (n,) bool of the rows; ``users``: the distinct users of the batch.
    """

    values: np.ndarray
    converted: Converted
    is_repeat: np.ndarray
    users: list[User]
    _headers: np.ndarray
    _entries: np.ndarray
    _is_kept: np.ndarray
    _starts: np.ndarray

    def new_histories(self) -> list[bytes]:
        """The users' histories after this batch, aligned with ``users``. Writing them twice changes nothing."""
        kept_before = np.concatenate([[0], np.cumsum(self._is_kept)])
        return pack(self._headers, self._entries[self._is_kept], np.diff(kept_before[self._starts]))


def compute_features(
    transactions: pl.DataFrame,
    histories: Sequence[bytes | None] | None,
    risk: MerchantRisk | MerchantHistory,
    exchange_rates: ExchangeRates,
) -> FeatureBatch:
    """Point-in-time features of each row of ``transactions``.

    transactions : (n, k) with transaction.COLUMNS, sorted by partition and offset (arrival order).
    histories : one blob (or None) per user of ``users_of(transactions)``; None when the rows hold all there is.
    risk : published tables (the stream), or what they are made from (training): both give the same bits.
    exchange_rates : with those of every table of the log that may be in force for a row; its currency is the features'.
    Raises ValueError when a history is further than this batch: the batch's state before it is no longer in the store.
    """
    users, user_of_row = _users_and_codes(transactions)
    converted = exchange_rates.convert(transactions)
    arrivals = _arrivals(transactions, converted)
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

    is_kept, repeats_place = np.ones(len(entries), np.bool_), np.zeros(len(entries), np.bool_)
    units = np.ones(len(entries), np.int64)
    units[place] = converted.units[order]
    at_place = np.empty((len(entries), len(_USER_FEATURES)))
    # The caps as arguments: a constant compiled in would outlive a change of it in numba's cache.
    first_new = starts[:-1] + old_counts
    fold(MAX_ENTRIES, MAX_AGE_MS, starts, first_new, entries, headers, is_kept, repeats_place, units, at_place)
    headers["before_offset"] = first_offset

    is_repeat = np.empty(len(order), np.bool_)
    is_repeat[order] = repeats_place[place]
    values = np.empty((len(order), len(FEATURES)))
    values[order, len(_OWN_FEATURES) : len(_OWN_FEATURES) + len(_USER_FEATURES)] = at_place[place]
    values[:, : len(_OWN_FEATURES)] = _own_features(transactions, converted, arrivals["kind"])
    values[:, -len(MERCHANT_FEATURES) :] = risk.lookup(transactions["merchant_id"], transactions["event_time_ms"])
    return FeatureBatch(values, converted, is_repeat, users, headers, entries, is_kept, starts)


def _users_and_codes(transactions: pl.DataFrame) -> tuple[list[User], np.ndarray]:
    """``users_of(transactions)`` and the position of each row's user in it."""
    encoded = transactions["user_id"].to_arrow().dictionary_encode()
    partition, n = transactions["partition"].to_numpy().astype(np.int64), max(len(encoded.dictionary), 1)
    pairs = pa.array(partition * n + encoded.indices.to_numpy()).dictionary_encode()
    partitions, names = np.divmod(pairs.dictionary.to_numpy(), n)
    users = zip(partitions.tolist(), encoded.dictionary.take(pa.array(names)).to_pylist(), strict=True)
    return list(users), pairs.indices.to_numpy().astype(np.int64)


def _arrivals(transactions: pl.DataFrame, converted: Converted) -> np.ndarray:
    arrivals = np.zeros(len(transactions), ENTRY)
    for name, column in (("time_ms", "event_time_ms"), ("offset", "offset")):
        arrivals[name] = transactions[column].to_numpy()
    arrivals["amount_minor"] = converted.amount_minor
    arrivals["comparable_with"] = converted.comparable_with
    for name, column, code in (
        ("merchant", "merchant_id", xxhash.xxh32_intdigest),
        ("device", "device_id", xxhash.xxh32_intdigest),
        ("country", "country", _of_two_letters),
    ):
        arrivals[name] = _codes(transactions[column], code)
    for name in ("latitude", "longitude"):
        arrivals[name] = transactions[name].fill_null(np.nan).to_numpy()
    ids = transactions["transaction_id"].cast(pl.Binary).to_list()
    arrivals["id_hash"] = list(map(xxhash.xxh64_intdigest, ids))
    arrivals["kind"] = _kinds(transactions)
    return arrivals


def _kinds(transactions: pl.DataFrame) -> np.ndarray:
    """(n,) uint16, sums of DECLINED, REFUND and VERIFICATION."""
    kind, cents = transactions["type"], transactions["amount_minor"].to_numpy()
    is_declined = (transactions["outcome"] == "declined").fill_null(False).to_numpy()
    is_refund = kind.is_in(["refund", "reversal"]).fill_null(False).to_numpy() | (cents < 0)
    is_verification = ((kind == "verification").fill_null(False).to_numpy() | (cents == 0)) & ~is_refund
    kinds: np.ndarray = is_declined * DECLINED + is_refund * REFUND + is_verification * VERIFICATION
    return kinds.astype(np.uint16)


def _codes(names: pl.Series, code: Callable[[bytes], int]) -> np.ndarray:
    """(n,) uint32, a stable code of each name, or MISSING. They are stored, so they must not depend on the process."""
    encoded = names.to_arrow().dictionary_encode()
    codes = [code(name.encode()) for name in encoded.dictionary.to_pylist()]
    of_rows: np.ndarray = np.array([*codes, MISSING], dtype=np.uint32)[encoded.indices.fill_null(-1).to_numpy()]
    return of_rows


def _of_two_letters(name: bytes) -> int:
    return int.from_bytes(name)


def _own_features(transactions: pl.DataFrame, converted: Converted, kinds: np.ndarray) -> np.ndarray:
    time_ms = transactions["event_time_ms"].to_numpy()
    days = time_ms // DAY_MS
    return np.column_stack(
        [
            converted.amount_minor / converted.units,
            (time_ms - days * DAY_MS) / HOUR_MS,
            (days + 3) % 7,  # 1970-01-01 was a Thursday; Monday is 0
            (transactions["channel"] == "online").fill_null(False).to_numpy(),
            (kinds & REFUND) != 0,
            (kinds & VERIFICATION) != 0,
            converted.is_foreign,
        ]
    )
