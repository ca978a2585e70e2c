"""Kinds of fraud: who, where, how much, how fast. A new kind is one function and one line of PATTERNS.

A pattern draws one campaign that begins on a day; its transactions lie on that day and up to LONGEST_DAYS later.
Thieves do not know the victim's habits, but they buy from real merchants, at prices that others pay too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from fraud_core.simulation.events import (
    APPROVED,
    PURCHASE,
    SUSPECTED_FRAUD,
    VERIFICATION,
    WRONG_SECURITY_CODE,
    Events,
    charged_cents,
    concat,
)
from fraud_core.simulation.population import CATEGORIES, Population, merchants_in_city
from fraud_core.timestamps import DAY_MS, HOUR_MS

LONGEST_DAYS = 35
_MINUTE_MS = HOUR_MS / 60
_FOREIGN_DEVICES = 10**15  # above every number of a customer's device
_IS_RESOLD = np.array([resold for _, _, resold in CATEGORIES.values()])


@dataclass(frozen=True)
class Pattern:
    """``campaigns`` is how many begin per day and 1,000 customers. Of a new kind none does unless Rates say so."""

    name: str
    campaigns: float
    draw: Callable[[Population, int, np.random.Generator], Events]
    is_new: bool = False


def stolen_card_spree(population: Population, day: int, rng: np.random.Generator) -> Events:
    """The card itself: three to ten purchases within hours, in one city, dearer than the owner's."""
    customer = rng.integers(len(population.customers))
    n = rng.integers(3, 11)
    home = population.customers.city[customer]
    city = home if rng.random() < 0.4 else rng.integers(population.cities)
    merchant = merchants_in_city(population, np.full(n, city), rng)
    times = day * DAY_MS + rng.uniform(6, 22) * HOUR_MS + np.cumsum(rng.exponential(20 * _MINUTE_MS, n))
    amount = population.merchants.price[merchant] * rng.uniform(2.0, 6.0) * rng.lognormal(0.0, 0.5, n)
    return _events(times, customer, merchant, amount, rng)


def compromised_merchant(population: Population, day: int, rng: np.random.Generator) -> Events:
    """A merchant whose terminal leaks: after some days, and for weeks, some of the payments there are forged.

    Each looks ordinary. What gives them away is the merchant's fraud rate, once labels arrive.
    """
    begin, n_days = day + rng.integers(2, 8), rng.integers(18, 28)
    n = rng.poisson(rng.uniform(2.0, 5.0) * n_days) + 1
    merchant = np.full(n, rng.integers(len(population.merchants)))
    customer = rng.choice(population.customers_near(merchant[0]), n)
    times = (begin + rng.uniform(0, n_days, n)) * DAY_MS
    amount = population.merchants.price[merchant] * rng.lognormal(0.2, 0.5, n)
    return _events(times, customer, merchant, amount, rng)


def account_takeover(population: Population, day: int, rng: np.random.Generator) -> Events:
    """Stolen credentials: from a device never seen before, online, what can be sold on, within a day."""
    n = rng.integers(2, 7)
    merchant = _online(population, n, rng, resold=True)
    times = day * DAY_MS + rng.uniform(0, 24) * HOUR_MS + np.cumsum(rng.exponential(2 * HOUR_MS, n))
    amount = population.merchants.price[merchant] * rng.uniform(1.5, 5.0) * rng.lognormal(0.0, 0.4, n)
    return _events(times, rng.integers(len(population.customers)), merchant, amount, rng)


def card_testing(population: Population, day: int, rng: np.random.Generator) -> Events:
    """Does the card number work? Many payments of a euro or two within minutes at one merchant, then a large one."""
    n = rng.integers(5, 13)
    merchant = np.append(np.full(n, _online(population, 1, rng)), _online(population, 1, rng, resold=True))
    start = day * DAY_MS + rng.uniform(0, 24) * HOUR_MS
    tests = np.cumsum(rng.exponential(1.5 * _MINUTE_MS, n))
    times = start + np.append(tests, tests[-1] + rng.uniform(10, 400) * _MINUTE_MS)
    amount = np.append(rng.uniform(0.5, 3.0, n), population.merchants.price[merchant[-1]] * rng.uniform(1.0, 4.0))
    events = _events(times, rng.integers(len(population.customers)), merchant, amount, rng)
    # The thief guesses the security code until the number works.
    guesses = np.append(rng.random(n - 1) < 0.6, [False, False])
    return replace(events, decline=np.where(guesses, WRONG_SECURITY_CODE, APPROVED).astype(np.int8))


def card_testing_wave(population: Population, day: int, rng: np.random.Generator) -> Events:
    """A list of stolen numbers goes through one online shop within an hour, each asked for nothing or for a euro.

    Most are declined: a wave shows in declines before it shows in losses. What works is used within the day.
    """
    cards = rng.choice(len(population.customers), rng.integers(10, 30))
    shop = _online(population, 1, rng)
    start = day * DAY_MS + rng.uniform(0, 22) * HOUR_MS
    times = start + rng.uniform(0, 60, len(cards)) * _MINUTE_MS
    amount = rng.uniform(0.5, 1.5, len(cards))
    tests = _events(times, cards, np.full(len(cards), shop), amount, rng)
    is_free = rng.random(len(cards)) < 0.5
    is_declined = rng.random(len(cards)) < 0.85
    tests = replace(
        tests,
        amount_minor=np.where(is_free, 0, tests.amount_minor),
        type=np.where(is_free, VERIFICATION, PURCHASE).astype(np.int8),
        decline=np.where(is_declined, WRONG_SECURITY_CODE, APPROVED).astype(np.int8),
    )
    works = np.flatnonzero(~is_declined)
    merchant = _online(population, len(works), rng, resold=True)
    times = times[works] + rng.uniform(10, 120, len(works)) * _MINUTE_MS
    amount = population.merchants.price[merchant] * rng.uniform(1.0, 4.0, len(works))
    used = _events(times, cards[works], merchant, amount, rng)
    is_stopped = rng.random(len(works)) < 0.3
    return concat([tests, replace(used, decline=np.where(is_stopped, SUSPECTED_FRAUD, APPROVED).astype(np.int8))])


def slow_burn(population: Population, day: int, rng: np.random.Generator) -> Events:
    """A careful thief: every few days for weeks, online, at about what the owner spends. Hard to see by design."""
    customer = rng.integers(len(population.customers))
    n = rng.integers(4, 11)
    merchant = _online(population, n, rng)
    times = (day + np.sort(rng.uniform(0, 28, n))) * DAY_MS
    habit = np.exp(population.customers.log_amount[customer])
    amount = population.merchants.price[merchant] * habit * rng.lognormal(0.1, 0.5, n)
    return _events(times, customer, merchant, amount, rng)


def night_bots(population: Population, day: int, rng: np.random.Generator) -> Events:
    """Stolen card numbers, used by machines: one or two cheap payments online, in the small hours, at any merchant."""
    n = rng.integers(1, 3)
    merchant = _online(population, n, rng)
    times = day * DAY_MS + rng.uniform(1, 5, n) * HOUR_MS
    amount = population.merchants.price[merchant] * rng.uniform(0.4, 1.2, n)
    return _events(times, rng.integers(len(population.customers)), merchant, amount, rng)


PATTERNS = (
    Pattern("stolen_card_spree", 0.35, stolen_card_spree),
    Pattern("compromised_merchant", 0.025, compromised_merchant),
    Pattern("account_takeover", 0.40, account_takeover),
    Pattern("card_testing", 0.20, card_testing),
    Pattern("slow_burn", 0.06, slow_burn),
    Pattern("night_bots", 1.0, night_bots, is_new=True),
    Pattern("card_testing_wave", 0.03, card_testing_wave),
)
GENUINE = "genuine"
KINDS = (GENUINE, *(pattern.name for pattern in PATTERNS))
"""By Events.kind."""
NEW_KINDS = [number for number, pattern in enumerate(PATTERNS, start=1) if pattern.is_new]

Rates = Mapping[str, Mapping[int, float]]
"""Name of a pattern to UTC days (since 1970) to how many times its campaigns begin from that day on."""


def new_kinds_from(day: int | None) -> Rates:
    """The new kinds begin on ``day``; None: never."""
    return {} if day is None else {pattern.name: {day: 1.0} for pattern in PATTERNS if pattern.is_new}


def campaigns_of_day(population: Population, day: int, rates: Rates) -> Events:
    """The transactions of all campaigns that begin on ``day``, on whatever day they take place."""
    none = np.empty(0, np.int64)
    no_codes = np.empty(0, np.int8)
    drawn = [Events(none, none, none, none, none, no_codes, no_codes, no_codes)]
    for number, pattern in enumerate(PATTERNS):
        rng = np.random.default_rng([population.seed, 3, day, number])
        expected = _times(pattern, day, rates) * pattern.campaigns * len(population.customers) / 1000
        events = [pattern.draw(population, day, rng) for _ in range(rng.poisson(expected))]
        drawn += [replace(one, kind=np.full(len(one), number + 1, np.int8)) for one in events]
    return concat(drawn)


def _times(pattern: Pattern, day: int, rates: Rates) -> float:
    begun = [(since, times) for since, times in rates.get(pattern.name, {}).items() if since <= day]
    return max(begun)[1] if begun else float(not pattern.is_new)


def _online(population: Population, n: int | np.int64, rng: np.random.Generator, resold: bool = False) -> np.ndarray:
    candidates = np.arange(population.merchants.first_online, len(population.merchants))
    if resold:
        sells = candidates[_IS_RESOLD[population.merchants.category[candidates]]]
        candidates = sells if len(sells) else candidates
    return rng.choice(candidates, n)


def _events(
    times: np.ndarray,
    customer: int | np.int64 | np.ndarray,
    merchant: np.ndarray,
    amount: np.ndarray,
    rng: np.random.Generator,
) -> Events:
    n = len(merchant)
    return Events(
        time_ms=times.astype(np.int64),
        customer=np.broadcast_to(np.asarray(customer, dtype=np.int64), n),
        merchant=merchant.astype(np.int64),
        amount_minor=charged_cents(amount),
        device=np.full(n, _FOREIGN_DEVICES + rng.integers(10**9)),
        type=np.full(n, PURCHASE, np.int8),
        decline=np.full(n, APPROVED, np.int8),
        kind=np.ones(n, np.int8),  # which one: set by the pattern that draws
    )
