"""Transactions as chapter 3 of the handbook describes them: data on which published results exist.

Le Borgne, Siblini, Lebichot and Bontempi, Reproducible Machine Learning for Credit Card Fraud Detection (2022),
"Transaction data simulator". Only the description is followed, so the rows are not theirs but of the same kind:
customers and terminals in a square of 100 x 100, each customer with amounts, a frequency and the terminals within reach
of their own, and three kinds of fraud. About 0.8 % of the transactions are fraud.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from fraud_core.timestamps import DAY_MS

SIDE = 100
CURRENCY = "USD"


@dataclass(frozen=True)
class Handbook:
    """The sizes of the published data set: 1.75 million transactions."""

    customers: int = 5_000
    terminals: int = 10_000
    days: int = 183
    start: datetime = datetime(2018, 4, 1, tzinfo=UTC)
    reach: float = 5.0
    seed: int = 0


def handbook(sizes: Handbook) -> pl.DataFrame:
    """The six required columns (amount in units, timestamp as RFC 3339 text) and is_fraud Boolean, in order of time."""
    rng = np.random.default_rng(sizes.seed)
    at = rng.uniform(0, SIDE, (sizes.customers, 2))
    terminal_at = rng.uniform(0, SIDE, (sizes.terminals, 2))
    mean = rng.uniform(5, 100, sizes.customers)
    a_day = rng.uniform(0, 4, sizes.customers)
    near = [np.flatnonzero(((terminal_at - place) ** 2).sum(axis=1) < sizes.reach**2) for place in at]
    a_day[[not len(terminals) for terminals in near]] = 0

    count = rng.poisson(a_day, (sizes.days, sizes.customers))
    day, customer = (np.repeat(index.ravel(), count.ravel()) for index in np.indices(count.shape))
    # Around noon; what falls outside the day does not happen.
    second = rng.normal(43_200, 20_000, len(day))
    kept = (second > 0) & (second < 86_400)
    day, customer, second = day[kept], customer[kept], second[kept].astype(np.int64)
    amount = rng.normal(mean[customer], mean[customer] / 2)
    amount = np.where(amount < 0, rng.uniform(0, 2 * mean[customer]), amount)
    sizes_near = np.array([len(terminals) for terminals in near])
    first_near = np.concatenate([[0], np.cumsum(sizes_near)])[:-1]
    chosen = first_near[customer] + (rng.random(len(day)) * sizes_near[customer]).astype(np.int64)
    terminal = np.concatenate(near)[chosen]

    is_fraud = amount > 220
    for today in range(sizes.days):
        compromised = rng.choice(sizes.terminals, 2, replace=False)
        is_fraud |= (day >= today) & (day < today + 28) & np.isin(terminal, compromised)
        stolen = np.flatnonzero(
            (day >= today) & (day < today + 14) & np.isin(customer, rng.choice(sizes.customers, 3, replace=False))
        )
        stolen = rng.choice(stolen, len(stolen) // 3, replace=False)
        amount[stolen] *= 5
        is_fraud[stolen] = True

    time_ms = int(sizes.start.timestamp() * 1000) + day * DAY_MS + second * 1000
    moments = pl.from_epoch(pl.Series(time_ms), time_unit="ms")
    rows = pl.DataFrame(
        {
            "user_id": [f"c{c}" for c in customer],
            "merchant_id": [f"m{t}" for t in terminal],
            "amount": np.maximum(np.round(amount, 2), 0.01),
            "currency": CURRENCY,
            "timestamp": moments.dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "is_fraud": is_fraud,
        }
    )
    return rows.sort("timestamp").select(pl.format("h{}", pl.int_range(pl.len())).alias("transaction_id"), pl.all())
