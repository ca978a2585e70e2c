"""Streams for hypothesis: late events, equal times, hot users, users in two partitions, repeats, missing fields."""

import polars as pl
from hypothesis import strategies as st

from fraud_core.features.exchange_rates import ExchangeRates, RateTable
from fraud_core.payments.transaction import COLUMNS
from fraud_core.timestamps import DAY_MS, HOUR_MS, iso_date

START_MS = 1_767_225_600_000  # 2026-01-01
_STEPS_MS = (0, 1, 1000, 60_000, HOUR_MS, HOUR_MS + 1, DAY_MS, 7 * DAY_MS, 30 * DAY_MS, 32 * DAY_MS)


RATES = ExchangeRates(
    [
        RateTable(iso_date(time_ms), time_ms, {"JPY": 170.1 + number, **({"KWD": 0.3503} if number > 1 else {})})
        for number, time_ms in enumerate((START_MS - 7 * DAY_MS, START_MS + DAY_MS, START_MS + 30 * DAY_MS))
    ],
    "EUR",
)
"""JPY always has a rate, KWD after a month, XTS never."""


@st.composite
def streams(draw, max_size: int = 40) -> pl.DataFrame:
    """A frame with transaction.COLUMNS in arrival order; event times step forward, back, and across every window."""
    rows, time_ms = [], START_MS
    for offset in range(draw(st.integers(1, max_size))):
        time_ms += draw(st.sampled_from(_STEPS_MS)) * draw(st.sampled_from((1, 1, 1, -1)))
        number = draw(st.sampled_from((offset, offset, offset, max(offset - 1, 0), offset // 2)))
        user = draw(st.integers(0, 3))
        located = draw(st.booleans())
        rows.append(
            {
                "partition": draw(st.sampled_from((user % 2, user % 2, 1))),
                "offset": offset,
                "ingest_time_ms": time_ms,
                "transaction_id": f"t{number}",
                "user_id": f"u{user}",
                "merchant_id": f"m{draw(st.integers(0, 2))}",
                "amount_minor": draw(st.one_of(st.integers(0, 100_000), st.integers(-5_000, -1), st.just(10**11))),
                "currency": draw(st.sampled_from(("EUR", "EUR", "JPY", "KWD", "XTS"))),
                "event_time_ms": time_ms,
                "channel": draw(st.sampled_from(("online", "chip", None))),
                "country": draw(st.sampled_from(("DE", "FR", None))),
                "latitude": draw(st.floats(-90, 90)) if located else None,
                "longitude": draw(st.floats(-180, 180)) if located else None,
                "device_id": draw(st.sampled_from(("d1", "d2", None))),
                "type": draw(st.sampled_from(("purchase", "refund", "reversal", "verification", "instalment", None))),
                "outcome": draw(st.sampled_from(("approved", "approved", "declined", None))),
            }
        )
    return pl.DataFrame(rows, schema=COLUMNS).sort("partition", "offset")


@st.composite
def cuts(draw, n: int) -> list[int]:
    """Where a stream of n rows is cut into micro-batches: ascending positions, 0 and n included."""
    inner = draw(st.lists(st.integers(1, max(1, n - 1)), max_size=6, unique=True)) if n > 1 else []
    return [0, *sorted(inner), n]
