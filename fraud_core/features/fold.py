"""The compiled part of the features: what a user's earlier arrivals say about each new payment.

The earlier entries that a payment may look at are found once; then one function a group of features goes over them.
To add a feature, compute it in its group (or in a new one that ``fold`` calls) and name it at the same place in
``table``.
"""

import numba
import numpy as np

from fraud_core.features.history import DECLINED, MISSING, NEVER_MS, REFUND, VERIFICATION
from fraud_core.timestamps import DAY_MS, HOUR_MS

WINDOWS = {"1h": HOUR_MS, "24h": 24 * HOUR_MS, "7d": 7 * DAY_MS, "30d": 30 * DAY_MS}
"""Name and length in ms, ascending."""

_WINDOWS_MS = np.array(list(WINDOWS.values()), dtype=np.int64)
_LONGEST_MS = WINDOWS["30d"]
_HOUR_MS, _DAY_MS = WINDOWS["1h"], WINDOWS["24h"]
_OF_24H, _OF_7D, _OF_30D = (4 * list(WINDOWS).index(window) for window in ("24h", "7d", "30d"))

# Where a group's features begin in a row.
_AMOUNT = 4 * len(WINDOWS)
_LAST_SEEN = _AMOUNT + 5
_VISITS = _LAST_SEEN + 1
_MOVE = _VISITS + 3
_DECLINES = _MOVE + 2

_NO_SPENDING = DECLINED | REFUND


@numba.njit(cache=True)
def fold(
    max_entries: int,
    max_age_ms: int,
    starts: np.ndarray,
    first_new: np.ndarray,
    entries: np.ndarray,
    headers: np.ndarray,
    is_kept: np.ndarray,
    is_repeat: np.ndarray,
    units: np.ndarray,
    out: np.ndarray,
) -> None:
    """Walk each user's entries in arrival order; fill a row of ``out`` for each new one.

    max_entries, max_age_ms : how far back a payment looks; see history.
    starts : (users + 1,) int64; the entries of user u are [starts[u], starts[u + 1]).
    first_new : (users,) int64; of these the ones from first_new[u] on are new, the others history.
    entries : (n,) history.ENTRY; ``arrival`` of the new ones is filled in, and those that are no repeat move up.
    headers : (users,) history.HEADER; ``arrivals`` and ``newest_ms`` become those before the batch.
    is_kept : (n,) bool; filled in: which of ``entries`` are the history after the batch. Of the history before it those
        that the batch's first payment of the user could see.
    is_repeat : (n,) bool; filled in for the new ones, at the places that they had: whether the user sent this
        transaction_id before. Such a payment does not count, neither itself nor for others.
    units : (n,) int64; how many of the minor units of a new entry's amount make a unit.
    out : (n, features of the user) float64; rows of history are left alone.
    """
    visible = np.empty(len(entries), np.int64)
    for user in range(len(headers)):
        begin, split, end = starts[user], first_new[user], starts[user + 1]
        header = headers[user]
        arrivals, newest_ms = header.arrivals, header.newest_ms
        for i in range(begin, split):
            if entries[i].offset >= header.before_offset:
                arrivals += 1
                newest_ms = max(newest_ms, entries[i].time_ms)
        header.arrivals, header.newest_ms = arrivals, newest_ms
        for i in range(begin, split):
            is_recent = arrivals - np.int64(entries[i].arrival) <= max_entries
            is_kept[i] = is_recent and entries[i].time_ms >= newest_ms - max_age_ms

        behind = split
        for i in range(split, end):
            count = 0
            # The newest arrival first, so that float sums have one order, whoever calls.
            for j in range(behind - 1, begin - 1, -1):
                if arrivals - np.int64(entries[j].arrival) > max_entries:
                    break
                age_ms = entries[i].time_ms - entries[j].time_ms
                if age_ms > _LONGEST_MS or entries[j].time_ms < newest_ms - max_age_ms:
                    continue
                if entries[j].id_hash == entries[i].id_hash:
                    is_repeat[i] = True
                elif age_ms >= 0:
                    visible[count] = j
                    count += 1
            earlier = visible[:count]
            _windows(entries, earlier, entries[i], units[i], out[i])
            _amount(entries, earlier, entries[i], units[i], out[i])
            _last_seen(entries, earlier, entries[i], out[i])
            _visits(entries, earlier, entries[i], out[i])
            _move(entries, earlier, entries[i], out[i])
            _declines(entries, earlier, entries[i], out[i])
            if not is_repeat[i]:
                entries[behind] = entries[i]
                entries[behind].arrival = arrivals
                behind += 1
                arrivals += 1
                newest_ms = max(newest_ms, entries[i].time_ms)
        is_kept[split:behind] = True
        is_kept[behind:end] = False


@numba.njit(cache=True)
def _windows(entries: np.ndarray, earlier: np.ndarray, own: np.record, units: int, out: np.ndarray) -> None:
    """Count of what was spent in each window; sum, mean and standard deviation of the comparable amounts."""
    counts = np.zeros(len(_WINDOWS_MS), np.int64)
    compared = np.zeros(len(_WINDOWS_MS), np.int64)
    sums = np.zeros(len(_WINDOWS_MS), np.int64)
    squares = np.zeros(len(_WINDOWS_MS), np.float64)
    for j in earlier:
        age_ms, amount = own.time_ms - entries[j].time_ms, entries[j].amount_minor
        if not _is_spending(entries[j]):
            continue
        for w in range(len(_WINDOWS_MS) - 1, -1, -1):
            if age_ms > _WINDOWS_MS[w]:
                break
            counts[w] += 1
            if entries[j].comparable_with == own.comparable_with:
                compared[w] += 1
                sums[w] += amount
                squares[w] += float(amount) * float(amount)
    for w in range(len(_WINDOWS_MS)):
        mean, std = own.amount_minor / units, 0.0
        if compared[w] > 0:
            mean_minor = sums[w] / compared[w]
            mean = mean_minor / units
            std = np.sqrt(max(0.0, squares[w] / compared[w] - mean_minor * mean_minor)) / units
        out[4 * w] = counts[w]
        out[4 * w + 1] = sums[w] / units
        out[4 * w + 2] = mean
        out[4 * w + 3] = std


@numba.njit(cache=True)
def _amount(entries: np.ndarray, earlier: np.ndarray, own: np.record, units: int, out: np.ndarray) -> None:
    """The amount against what is usual in the windows and against the largest."""
    largest = np.int64(0)
    for j in earlier:
        if _is_spending(entries[j]) and entries[j].comparable_with == own.comparable_with:
            largest = max(largest, entries[j].amount_minor)
    amount = own.amount_minor / units
    mean_30d, std_30d = out[_OF_30D + 2], out[_OF_30D + 3]
    out[_AMOUNT] = _ratio(amount, out[_OF_24H + 2], 1 / units)
    out[_AMOUNT + 1] = _ratio(amount, out[_OF_7D + 2], 1 / units)
    out[_AMOUNT + 2] = _ratio(amount, mean_30d, 1 / units)
    out[_AMOUNT + 3] = own.amount_minor / largest if largest > 0 else 1.0
    # A minor unit in the denominator keeps a user who always pays the same amount finite.
    out[_AMOUNT + 4] = (amount - mean_30d) / (std_30d + 1 / units)


@numba.njit(cache=True)
def _ratio(amount: float, mean: float, least: float) -> float:
    """Where nothing was paid so far (verifications of an account), ``least``, a minor unit, stands for the mean."""
    if mean > 0.0:
        return amount / mean
    return amount / least if amount > 0.0 else 1.0


@numba.njit(cache=True)
def _is_spending(entry: np.record) -> bool:
    """Neither declined nor a refund or a reversal."""
    is_spending: bool = (entry.kind & _NO_SPENDING) == 0
    return is_spending


@numba.njit(cache=True)
def _last_seen(entries: np.ndarray, earlier: np.ndarray, own: np.record, out: np.ndarray) -> None:
    last_ms = NEVER_MS
    for j in earlier:
        last_ms = max(last_ms, entries[j].time_ms)
    out[_LAST_SEEN] = (own.time_ms - last_ms if last_ms > NEVER_MS else _LONGEST_MS) / 1000.0


@numba.njit(cache=True)
def _visits(entries: np.ndarray, earlier: np.ndarray, own: np.record, out: np.ndarray) -> None:
    """How often the same merchant, country and device were seen. One that is not known is not the same."""
    merchant, country, device = 0, 0, 0
    for j in earlier:
        merchant += entries[j].merchant == own.merchant
        country += entries[j].country == own.country
        device += entries[j].device == own.device
    out[_VISITS] = merchant if _is_known(own.merchant) else 0
    out[_VISITS + 1] = country if _is_known(own.country) else 0
    out[_VISITS + 2] = device if _is_known(own.device) else 0


@numba.njit(cache=True)
def _is_known(code: object) -> bool:
    return code != MISSING


@numba.njit(cache=True)
def _move(entries: np.ndarray, earlier: np.ndarray, own: np.record, out: np.ndarray) -> None:
    """Distance to the last place, and the speed that it takes to come from there."""
    last, last_ms = -1, NEVER_MS
    for j in earlier:
        if entries[j].time_ms > last_ms and _is_located(entries[j]):
            last, last_ms = j, entries[j].time_ms
    distance, speed = 0.0, 0.0
    if last >= 0 and _is_located(own):
        distance = _distance_km(entries[last], own)
        # At least a minute: two terminals a street apart in the same second are not a flight.
        speed = distance / (max(own.time_ms - last_ms, 60_000) / 3_600_000.0)
    out[_MOVE] = distance
    out[_MOVE + 1] = speed


@numba.njit(cache=True)
def _declines(entries: np.ndarray, earlier: np.ndarray, own: np.record, out: np.ndarray) -> None:
    """How many payments were declined and how many verified the account: cards are tried out before they are used."""
    hour, day, verifications, payments = 0, 0, 0, 0
    for j in earlier:
        age_ms = own.time_ms - entries[j].time_ms
        if age_ms > _DAY_MS:
            continue
        payments += 1
        verifications += (entries[j].kind & VERIFICATION) != 0
        if (entries[j].kind & DECLINED) != 0:
            day += 1
            hour += age_ms <= _HOUR_MS
    out[_DECLINES] = hour
    out[_DECLINES + 1] = day
    out[_DECLINES + 2] = day / payments if payments > 0 else 0.0
    out[_DECLINES + 3] = verifications


@numba.njit(cache=True)
def _is_located(entry: np.record) -> bool:
    return not np.isnan(entry.latitude) and not np.isnan(entry.longitude)


@numba.njit(cache=True)
def _distance_km(a: np.record, b: np.record) -> float:
    """Great-circle distance by the haversine formula, in km."""
    to_radians = np.pi / 180.0
    latitude_a, latitude_b = np.float64(a.latitude), np.float64(b.latitude)
    longitude_a, longitude_b = np.float64(a.longitude), np.float64(b.longitude)
    half_lat = np.sin((latitude_b - latitude_a) * to_radians / 2)
    half_lon = np.sin((longitude_b - longitude_a) * to_radians / 2)
    cosines = np.cos(latitude_a * to_radians) * np.cos(latitude_b * to_radians)
    distance: float = 2 * 6371.0 * np.arcsin(min(1.0, np.sqrt(half_lat * half_lat + cosines * half_lon * half_lon)))
    return distance
