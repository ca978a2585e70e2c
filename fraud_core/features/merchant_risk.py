"""How risky each merchant was: volume, fraud rate and the age of known fraud over windows that end a label delay ago.

Labels take days to arrive, so a merchant's recent fraud rate is not known; one that pretends to know it leaks the
answer. Every full hour there is a table, computed as of that hour from the labels known by then, over windows that end
``label_delay_days`` before it. It is in force from an hour later: that hour is for the run that makes it, so that
training and the stream look up the same table.

Fraud at a merchant comes in outbreaks, so an hour matters: a table a day, 30 hours old at worst, misses most of a day
of each.
"""

from collections.abc import Iterable

import numba
import numpy as np
import polars as pl

from fraud_core.timestamps import DAY_MS, HOUR_MS

WINDOW_DAYS = (1, 7, 30)
EVERY_MS = HOUR_MS
PUBLISHED_AFTER_MS = HOUR_MS
MERCHANT_FEATURES = (
    *(f"merchant_{what}_{days}d" for days in WINDOW_DAYS for what in ("transactions", "fraud_rate")),
    "merchant_days_since_fraud",  # from the last known fraud to the end of the windows
    "merchant_days_since_first_fraud",  # from the first one in the longest window
    "merchant_fraud_rate_since_first_fraud",
)
RISK_COLUMNS = {
    "effective_from_ms": pl.Int64,
    "merchant_id": pl.String,
    **dict.fromkeys(MERCHANT_FEATURES, pl.Float64),
}
UNKNOWN_MERCHANT = np.array([0.0] * (2 * len(WINDOW_DAYS)) + [WINDOW_DAYS[-1], WINDOW_DAYS[-1], 0.0])
"""Without a transaction in the longest window: no volume, no fraud, as long ago as the window is."""

# The newest table serves live transactions; older ones those that arrive up to a day late.
KEPT_TABLES = 25

_WINDOWS_MS = np.array(WINDOW_DAYS, dtype=np.int64) * DAY_MS


def newest_effective_times(known_ms: int) -> list[int]:
    """Of the last KEPT_TABLES tables that can be made from what was known at ``known_ms``; ascending."""
    last_ms = known_ms // EVERY_MS * EVERY_MS + PUBLISHED_AFTER_MS
    return [last_ms - number * EVERY_MS for number in reversed(range(KEPT_TABLES))]


class MerchantRisk:
    """Looks merchants up in the newest table whose effective time is not after the transaction's event time.

    tables : by effective time, as ``rows_of_table`` gives them.
    """

    def __init__(self, tables: dict[int, tuple[dict[str, int], np.ndarray]]) -> None:
        self._times = np.array(sorted(tables), dtype=np.int64)
        self._tables = [tables[time_ms] for time_ms in sorted(tables)]

    @classmethod
    def empty(cls) -> "MerchantRisk":
        return cls({})

    def effective_from(self, event_time_ms: Iterable[int]) -> list[int | None]:
        """Effective time of the table each event time falls to; None when no table is that old."""
        return [None if at < 0 else int(self._times[at]) for at in self._indices(event_time_ms)]

    def lookup(self, merchant_ids: Iterable[str], event_time_ms: Iterable[int]) -> np.ndarray:
        """(n, len(MERCHANT_FEATURES)) float64; UNKNOWN_MERCHANT for a merchant that is not in the table."""
        indices = self._indices(event_time_ms)
        values = np.tile(UNKNOWN_MERCHANT, (len(indices), 1))
        # A merchant is looked up once a table: payments are many, merchants few.
        encoded = pl.Series(merchant_ids, dtype=pl.String).to_arrow().dictionary_encode()
        names, merchant = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
        for at in np.unique(indices[indices >= 0]).tolist():
            row_of, table = self._tables[at]
            of_table = np.flatnonzero(indices == at)
            rows = np.array([row_of.get(name, -1) for name in names], dtype=np.int64)[merchant[of_table]]
            values[of_table[rows >= 0]] = table[rows[rows >= 0]]
        return values

    def _indices(self, event_time_ms: Iterable[int]) -> np.ndarray:
        return np.searchsorted(self._times, np.asarray(event_time_ms, dtype=np.int64), side="right") - 1


def rows_of_table(table: pl.DataFrame) -> tuple[dict[str, int], np.ndarray]:
    """One effective time of RISK_COLUMNS as MerchantRisk wants it: row of each merchant, and the rows' values."""
    rows = {merchant: row for row, merchant in enumerate(table["merchant_id"])}
    return rows, table.select(MERCHANT_FEATURES).to_numpy()


class MerchantHistory:
    """Everything that was paid to merchants and became known of it: what the table of any hour is made from.

    transactions : merchant_id, event_time_ms, transaction_id; one that was sent again counts once.
    labels : labels.LABEL_COLUMNS.
    """

    def __init__(self, transactions: pl.DataFrame, labels: pl.DataFrame, label_delay_days: int) -> None:
        self._delay_ms = label_delay_days * DAY_MS
        self.merchants = transactions["merchant_id"].unique().sort()
        once = transactions.group_by("merchant_id", "transaction_id").agg(pl.col("event_time_ms").min())
        paid = once.select("transaction_id", "event_time_ms", merchant=self._codes(once["merchant_id"]))
        fraud = _fraud_periods(paid, labels).sort("merchant", "event_time_ms")
        paid = paid.select("merchant", "event_time_ms").sort("merchant", "event_time_ms")
        self._paid = (_starts(paid["merchant"], len(self.merchants)), paid["event_time_ms"].to_numpy())
        self._fraud = (
            _starts(fraud["merchant"], len(self.merchants)),
            fraud["event_time_ms"].to_numpy(),
            fraud["known_from_ms"].to_numpy(),
            fraud["known_until_ms"].to_numpy(),
        )

    def lookup(self, merchant_ids: pl.Series, event_time_ms: pl.Series) -> np.ndarray:
        """What MerchantRisk.lookup would find had the table of every hour been published, to the bit."""
        merchant = self._codes(merchant_ids).to_numpy()
        hour = (event_time_ms.to_numpy() - PUBLISHED_AFTER_MS) // EVERY_MS
        if not len(hour):
            return np.empty((0, len(MERCHANT_FEATURES)))
        # Transactions of one merchant in one hour share a row of the table: a busy merchant is computed once an hour.
        first, hours = hour.min(), hour.max() - hour.min() + 1
        wanted, row = np.unique(merchant.astype(np.int64) * hours + (hour - first), return_inverse=True)
        as_of_ms = (wanted % hours + first) * EVERY_MS
        return self._values(wanted // hours, as_of_ms)[row]

    def table(self, effective_from_ms: int) -> pl.DataFrame:
        """The table of one effective time (RISK_COLUMNS), without merchants that nobody paid in the longest window."""
        as_of_ms = np.full(len(self.merchants), effective_from_ms - PUBLISHED_AFTER_MS)
        values = self._values(np.arange(len(self.merchants)), as_of_ms)
        rows = dict(zip(MERCHANT_FEATURES, values.T, strict=True))
        return (
            pl.DataFrame({"effective_from_ms": effective_from_ms, "merchant_id": self.merchants, **rows})
            .cast(pl.Schema(RISK_COLUMNS))
            .filter(pl.col(f"merchant_transactions_{WINDOW_DAYS[-1]}d") > 0)
        )

    def _codes(self, merchant_ids: pl.Series) -> pl.Series:
        """Position of each merchant in ``merchants``."""
        position = pl.int_range(len(self.merchants), dtype=pl.Int64, eager=True)
        return merchant_ids.replace_strict(self.merchants, position, return_dtype=pl.Int64)

    def _values(self, merchant: np.ndarray, as_of_ms: np.ndarray) -> np.ndarray:
        values = np.empty((len(merchant), len(MERCHANT_FEATURES)))
        _risk(merchant, as_of_ms, self._delay_ms, *self._paid, *self._fraud, values)
        return values


def _fraud_periods(paid: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """For each fraud label: when it was the last word on its transaction, [known_from_ms, known_until_ms)."""
    known_from = pl.col("label_time_ms")
    return (
        labels.sort("label_time_ms", "partition", "offset")
        .with_columns(known_from_ms=known_from, known_until_ms=known_from.shift(-1).over("transaction_id"))
        .filter("is_fraud")
        .with_columns(pl.col("known_until_ms").fill_null(np.iinfo(np.int64).max))
        .join(paid, on="transaction_id")
    )


def _starts(sorted_codes: pl.Series, n: int) -> np.ndarray:
    """Where each code's rows begin, and behind the last one their end: (n + 1,) int64."""
    return np.searchsorted(sorted_codes.to_numpy(), np.arange(n + 1))


@numba.njit(cache=True)
def _risk(
    merchant: np.ndarray,
    as_of_ms: np.ndarray,
    delay_ms: int,
    starts: np.ndarray,
    time_ms: np.ndarray,
    fraud_starts: np.ndarray,
    fraud_time_ms: np.ndarray,
    known_from_ms: np.ndarray,
    known_until_ms: np.ndarray,
    out: np.ndarray,
) -> None:
    """Fill a row of ``out`` for each (merchant, as-of time); events of a merchant are sorted by time."""
    n_windows = len(_WINDOWS_MS)
    longest = _WINDOWS_MS[n_windows - 1]
    frauds = np.empty(n_windows, np.int64)
    for row in range(len(merchant)):
        begin, end = starts[merchant[row]], starts[merchant[row] + 1]
        window_end = as_of_ms[row] - delay_ms
        paid = time_ms[begin:end]
        until = np.searchsorted(paid, window_end)

        first, last = window_end - longest, window_end - longest
        frauds[:] = 0
        begin, end = fraud_starts[merchant[row]], fraud_starts[merchant[row] + 1]
        for i in range(begin + np.searchsorted(fraud_time_ms[begin:end], window_end - longest), end):
            if fraud_time_ms[i] >= window_end:
                break
            if known_from_ms[i] > as_of_ms[row] or known_until_ms[i] <= as_of_ms[row]:
                continue
            if frauds[n_windows - 1] == 0:
                first = fraud_time_ms[i]
            last = fraud_time_ms[i]
            for w in range(n_windows):
                frauds[w] += fraud_time_ms[i] >= window_end - _WINDOWS_MS[w]

        for w in range(n_windows):
            count = until - np.searchsorted(paid, window_end - _WINDOWS_MS[w])
            out[row, 2 * w] = count
            out[row, 2 * w + 1] = frauds[w] / count if count > 0 else 0.0
        out[row, 2 * n_windows] = (window_end - last) / DAY_MS
        out[row, 2 * n_windows + 1] = (window_end - first) / DAY_MS
        since_first = until - np.searchsorted(paid, first)
        out[row, 2 * n_windows + 2] = frauds[n_windows - 1] / since_first if since_first > 0 else 0.0
