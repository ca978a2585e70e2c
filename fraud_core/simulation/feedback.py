"""What becomes known about simulated transactions, from whom and when: late, incomplete, sometimes wrong at first."""

import numpy as np
import polars as pl

from fraud_core.timestamps import DAY_MS

# source: share of the frauds it reports, median delay in days, sd of the log delay
_REPORTS = {"customer": (0.35, 0.8, 0.8), "analyst": (0.15, 0.9, 0.4), "chargeback": (0.47, 4.5, 0.5)}
# Nobody pays for a fraud that was declined, so nobody disputes it: the issuer of the card reports what it sees of it.
_DECLINED_SHARE, _DECLINED_DAYS, _DECLINED_SPREAD = 0.8, 1.0, 0.8  # of the frauds; as above
_CLEARED_SHARE = 0.002  # genuine transactions an analyst looked at
_MISTAKEN_SHARE = 0.0003  # genuine ones a customer first disputes; an analyst corrects that days later


def feedback(
    transaction_ids: pl.Series,
    is_fraud: np.ndarray,
    is_declined: np.ndarray,
    time_ms: np.ndarray,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """transaction_id, is_fraud, source, label_time_ms: zero, one or two rows a transaction, unsorted."""
    sources = list(_REPORTS)
    shares, medians, spreads = (np.array([values[column] for values in _REPORTS.values()]) for column in range(3))
    frauds = np.flatnonzero(is_fraud & ~is_declined)
    # What is left of the shares to 1 is fraud that nobody ever notices.
    reporter = rng.choice(len(sources) + 1, size=len(frauds), p=np.append(shares, 1 - shares.sum()))
    frauds, reporter = frauds[reporter < len(sources)], reporter[reporter < len(sources)]
    delay_days = medians[reporter] * np.exp(spreads[reporter] * rng.normal(size=len(frauds)))
    reported = _rows(transaction_ids, time_ms, frauds, True, pl.Series(sources).gather(reporter), delay_days)
    declined = np.flatnonzero(is_fraud & is_declined)
    declined = declined[rng.random(len(declined)) < _DECLINED_SHARE]
    noticed_days = _DECLINED_DAYS * np.exp(_DECLINED_SPREAD * rng.normal(size=len(declined)))

    luck = np.where(is_fraud, 1.0, rng.random(len(is_fraud)))
    cleared = np.flatnonzero(luck < _CLEARED_SHARE)
    mistaken = np.flatnonzero((luck >= _CLEARED_SHARE) & (luck < _CLEARED_SHARE + _MISTAKEN_SHARE))
    disputed_days = rng.uniform(0.5, 3.0, len(mistaken))
    return pl.concat(
        [
            reported,
            _rows(transaction_ids, time_ms, declined, True, "issuer", noticed_days),
            _rows(transaction_ids, time_ms, cleared, False, "analyst", rng.uniform(0.3, 2.0, len(cleared))),
            _rows(transaction_ids, time_ms, mistaken, True, "customer", disputed_days),
            _rows(
                transaction_ids, time_ms, mistaken, False, "analyst", disputed_days + rng.uniform(1, 4, len(mistaken))
            ),
        ]
    )


def _rows(
    transaction_ids: pl.Series,
    time_ms: np.ndarray,
    rows: np.ndarray,
    is_fraud: bool,
    source: str | pl.Series,
    delay_days: np.ndarray,
) -> pl.DataFrame:
    return pl.select(
        transaction_id=transaction_ids.gather(rows),
        is_fraud=pl.lit(is_fraud),
        source=pl.lit(source, dtype=pl.String) if isinstance(source, str) else source,
        label_time_ms=pl.Series(time_ms[rows] + (delay_days * DAY_MS).astype(np.int64), dtype=pl.Int64),
    )
