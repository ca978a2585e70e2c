"""How risky each merchant was: fraud rate and volume over windows that end a label delay before the day.

Labels take days to arrive, so a merchant's recent fraud rate is not known; one that pretends to know it leaks the
answer. A daily table per *effective time*, 06:00 UTC of day d, is computed as of 00:00 UTC of d: from labels known by
then, over windows of whole days that end ``label_delay_days`` earlier. The six hours in between are for the daily run,
so that training and the stream look up the same table.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from fraud_core.timestamps import DAY_MS, HOUR_MS

WINDOW_DAYS = (1, 7, 30)
PUBLISHED_AFTER_MS = 6 * HOUR_MS
MERCHANT_FEATURES = tuple(f"merchant_{what}_{days}d" for days in WINDOW_DAYS for what in ("transactions", "fraud_rate"))
RISK_COLUMNS = {
    "effective_from_ms": pl.Int64,
    "merchant_id": pl.String,
    **dict.fromkeys(MERCHANT_FEATURES, pl.Float64),
}


def effective_times(first_ms: int, last_ms: int) -> list[int]:
    """Effective times of all tables that rows with event time in [first_ms, last_ms] look up, ascending."""
    first_day = (first_ms - PUBLISHED_AFTER_MS) // DAY_MS
    last_day = (last_ms - PUBLISHED_AFTER_MS) // DAY_MS
    return [day * DAY_MS + PUBLISHED_AFTER_MS for day in range(first_day, last_day + 1)]


def merchant_risk(
    transactions: pl.DataFrame, labels: pl.DataFrame, effective_from_ms: Sequence[int], label_delay_days: int
) -> pl.DataFrame:
    """The tables of the given effective times in one frame (RISK_COLUMNS); merchants without transactions are left out.

    transactions : merchant_id, event_time_ms, transaction_id. labels : labels.LABEL_COLUMNS.
    """
    days = np.array([time_ms // DAY_MS for time_ms in effective_from_ms], dtype=np.int64)
    if len(days) == 0 or transactions.is_empty():
        return pl.DataFrame(schema=RISK_COLUMNS)
    first, n_days = int(days.min()), int(days.max() - days.min()) + 1
    names = transactions["merchant_id"].unique().sort()
    paid = transactions.select(
        pl.col("merchant_id").replace_strict(names, np.arange(len(names))).alias("merchant"),
        (pl.col("event_time_ms") // DAY_MS).alias("day"),
        "transaction_id",
    )
    fraud = _fraud_periods(paid, labels)

    tables = np.zeros((n_days, len(names), len(MERCHANT_FEATURES)))
    for column, window in enumerate(WINDOW_DAYS):
        # A transaction of day e is inside the window of tables e + delay + 1 ... e + delay + window.
        start = paid["day"].to_numpy() + label_delay_days + 1
        volume = _count_over_days(paid["merchant"].to_numpy(), start, start + window, first, (n_days, len(names)))
        start = fraud["day"].to_numpy() + label_delay_days + 1
        end = np.minimum(start + window, fraud["until_day"].to_numpy())
        start = np.maximum(start, fraud["from_day"].to_numpy())
        frauds = _count_over_days(fraud["merchant"].to_numpy(), start, end, first, (n_days, len(names)))
        tables[:, :, 2 * column] = volume
        tables[:, :, 2 * column + 1] = np.divide(frauds, volume, out=np.zeros(volume.shape), where=volume > 0)

    wanted = tables[days - first]
    table, merchant = np.nonzero(wanted[:, :, 2 * len(WINDOW_DAYS) - 2])
    return pl.DataFrame(
        {
            "effective_from_ms": np.asarray(effective_from_ms, dtype=np.int64)[table],
            "merchant_id": names.gather(merchant),
            **{name: wanted[table, merchant, column] for column, name in enumerate(MERCHANT_FEATURES)},
        },
        schema=RISK_COLUMNS,
    )


def _fraud_periods(paid: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """For each fraud label: the days [from_day, until_day) at whose start it was the last word on its transaction."""
    day_known = (pl.col("label_time_ms") / DAY_MS).ceil().cast(pl.Int64)
    return (
        labels.sort("label_time_ms", "partition", "offset")
        .with_columns(from_day=day_known, until_day=day_known.shift(-1).over("transaction_id"))
        .filter("is_fraud")
        .with_columns(pl.col("until_day").fill_null(np.iinfo(np.int64).max))
        .join(paid, on="transaction_id")
    )


def _count_over_days(
    merchant: np.ndarray, start: np.ndarray, end: np.ndarray, first: int, shape: tuple[int, int]
) -> np.ndarray:
    """How many of each merchant's intervals [start, end) cover each day from ``first`` on; shape (days, merchants)."""
    n_days, n_merchants = shape
    begins, ends = np.clip(start - first, 0, n_days), np.clip(end - first, 0, n_days)
    is_some = begins < ends
    changes = np.bincount(begins[is_some] * n_merchants + merchant[is_some], minlength=(n_days + 1) * n_merchants)
    changes -= np.bincount(ends[is_some] * n_merchants + merchant[is_some], minlength=(n_days + 1) * n_merchants)
    return np.cumsum(changes.reshape(n_days + 1, n_merchants)[:n_days], axis=0)


class MerchantRisk:
    """Looks merchants up in the newest table whose effective time is not after the transaction's event time."""

    def __init__(self, tables: dict[int, tuple[dict[str, int], np.ndarray]]) -> None:
        self._times = np.array(sorted(tables), dtype=np.int64)
        self._tables = [tables[time_ms] for time_ms in sorted(tables)]

    @classmethod
    def empty(cls) -> "MerchantRisk":
        return cls({})

    @classmethod
    def from_table(cls, table: pl.DataFrame) -> "MerchantRisk":
        """From a frame with RISK_COLUMNS that holds one or more effective times."""
        tables = {}
        for (time_ms,), part in table.partition_by("effective_from_ms", as_dict=True).items():
            rows = {merchant: row for row, merchant in enumerate(part["merchant_id"])}
            tables[time_ms] = (rows, part.select(MERCHANT_FEATURES).to_numpy())
        return cls(tables)

    def effective_from(self, event_time_ms: Iterable[int]) -> list[int | None]:
        """Effective time of the table each event time falls to; None when no table is that old."""
        return [None if at < 0 else int(self._times[at]) for at in self._indices(event_time_ms)]

    def lookup(self, merchant_ids: Iterable[str], event_time_ms: Iterable[int]) -> np.ndarray:
        """(n, len(MERCHANT_FEATURES)) float64; zeros for a merchant that is not in the table."""
        indices = self._indices(event_time_ms)
        encoded = pl.Series(merchant_ids, dtype=pl.String).to_arrow().dictionary_encode()
        names, merchant = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
        values = np.zeros((len(indices), len(MERCHANT_FEATURES)))
        for at in np.unique(indices[indices >= 0]).tolist():
            row_of, table = self._tables[at]
            of_table = np.flatnonzero(indices == at)
            rows = np.array([row_of.get(name, -1) for name in names], dtype=np.int64)[merchant[of_table]]
            values[of_table[rows >= 0]] = table[rows[rows >= 0]]
        return values

    def _indices(self, event_time_ms: Iterable[int]) -> np.ndarray:
        return np.searchsorted(self._times, np.asarray(event_time_ms, dtype=np.int64), side="right") - 1
