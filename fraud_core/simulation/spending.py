"""What customers do of their own accord: habits, and the exceptions that make honest people look like thieves."""

from dataclasses import replace

import numpy as np

from fraud_core.simulation.events import (
    APPROVED,
    EXPIRED_CARD,
    INSUFFICIENT_FUNDS,
    PURCHASE,
    REFUND,
    VERIFICATION,
    WRONG_PIN,
    Events,
    charged_cents,
    concat,
)
from fraud_core.simulation.population import (
    LOCAL_FAVOURITES,
    ONLINE_FAVOURITES,
    TRANSACTIONS_PER_CUSTOMER_DAY,
    Population,
    merchants_in_city,
)
from fraud_core.timestamps import DAY_MS, HOUR_MS

_TRIP_DAYS = 6  # trips begin and end together; which customers are away is drawn anew for each period
_AWAY_SHARE = 0.05
_OFF_HABIT_SHARE = 0.2
_BIG_PURCHASE_SHARE = 0.015
_DEVICE_LIFE_DAYS = 120
_BORROWED_DEVICE_SHARE = 0.015
_BURST_SHARE = 0.002  # shopping trips: several purchases within an hour or two
_REFUND_SHARE = 0.012
_VERIFICATION_SHARE = 0.01  # of payments online: a shop keeps the card for later, and asks for an amount of 0
_DECLINED_SHARE = 0.02
_HONEST_DECLINES = (INSUFFICIENT_FUNDS, WRONG_PIN, EXPIRED_CARD)
_RETRY_SHARE = 0.6  # of declined payments: tried once more within minutes


def genuine_day(population: Population, day: int) -> Events:
    """All genuine transactions of UTC day ``day`` (days since 1970), unsorted."""
    rng = np.random.default_rng([population.seed, 1, day])
    customers, merchants = population.customers, population.merchants
    weekly = 1.15 if (day + 3) % 7 >= 5 else 0.94
    share = customers.daily_rate / customers.daily_rate.sum()
    expected = len(customers) * TRANSACTIONS_PER_CUSTOMER_DAY * weekly
    customer = rng.choice(len(customers), size=rng.poisson(expected * (1 - 4 * _BURST_SHARE)), p=share)
    hour = customers.peak_hour[customer] + rng.normal(0.0, 3.5, len(customer))
    shoppers = rng.choice(len(customers), size=rng.poisson(expected * _BURST_SHARE), p=share)
    burst = np.repeat(np.arange(len(shoppers)), rng.integers(2, 7, len(shoppers)))
    customer = np.concatenate([customer, shoppers[burst]])
    hour = np.concatenate([hour, rng.uniform(9, 20, len(shoppers))[burst] + rng.uniform(0, 1.5, len(burst))])

    n = len(customer)
    is_online = rng.random(n) < customers.online_share[customer]
    city = _city_of_stay(population, day)[customer]
    is_off_habit = rng.random(n) < _OFF_HABIT_SHARE
    is_away = city != customers.city[customer]
    # A squared uniform number prefers the first favourites.
    local = customers.local_favourites[customer, (rng.random(n) ** 2 * LOCAL_FAVOURITES).astype(int)]
    local = np.where(is_off_habit | is_away, merchants_in_city(population, city, rng), local)
    online = customers.online_favourites[customer, (rng.random(n) ** 2 * ONLINE_FAVOURITES).astype(int)]
    online = np.where(is_off_habit, rng.integers(merchants.first_online, len(merchants), n), online)
    merchant = np.where(is_online, online, local)
    big = np.where(rng.random(n) < _BIG_PURCHASE_SHARE, rng.uniform(3.0, 9.0, n), 1.0)
    habit = np.exp(customers.log_amount[customer] + customers.spread[customer] * rng.normal(0.0, 1.0, n))
    amount = merchants.price[merchant] * big * habit
    own_device = customer * 1000 + (day + customer * 37 % _DEVICE_LIFE_DAYS) // _DEVICE_LIFE_DAYS % 1000
    borrowed = len(customers) * 1000 + rng.integers(1_000_000_000, size=n)
    device = np.where(rng.random(n) < _BORROWED_DEVICE_SHARE, borrowed, own_device)
    is_refund = rng.random(n) < _REFUND_SHARE
    is_verification = is_online & ~is_refund & (rng.random(n) < _VERIFICATION_SHARE)
    is_declined = ~is_refund & (rng.random(n) < _DECLINED_SHARE)
    cents = charged_cents(amount)
    events = Events(
        time_ms=day * DAY_MS + (np.mod(hour, 24.0) * HOUR_MS).astype(np.int64),
        customer=customer,
        merchant=merchant,
        amount_minor=np.select([is_refund, is_verification], [-cents, 0], cents),
        device=device,
        type=np.select([is_refund, is_verification], [REFUND, VERIFICATION], PURCHASE).astype(np.int8),
        decline=np.where(is_declined, rng.choice(_HONEST_DECLINES, n), APPROVED).astype(np.int8),
        kind=np.zeros(n, np.int8),
    )
    return concat([events, _retries(events, day, rng)])


def _retries(events: Events, day: int, rng: np.random.Generator) -> Events:
    """Declined payments made once more, and approved."""
    declined = np.flatnonzero(events.is_declined)
    again = events[declined[rng.random(len(declined)) < _RETRY_SHARE]]
    times = np.minimum(again.time_ms + rng.integers(20_000, 240_000, len(again)), (day + 1) * DAY_MS - 1)
    return replace(again, time_ms=times, decline=np.full(len(again), APPROVED, np.int8))


def _city_of_stay(population: Population, day: int) -> np.ndarray:
    customers = population.customers
    rng = np.random.default_rng([population.seed, 2, day // _TRIP_DAYS])
    is_away = rng.random(len(customers)) < _AWAY_SHARE
    return np.where(is_away, rng.integers(population.cities, size=len(customers)), customers.city)
