"""Simulated card payments, a UTC day at a time. Everything follows from the number of customers and the seed."""

from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import polars as pl

from fraud_core.simulation.events import DECLINE_REASONS, HOME_CURRENCY, TYPES, Events, concat
from fraud_core.simulation.feedback import feedback
from fraud_core.simulation.fraud_patterns import LONGEST_DAYS, NEW_KINDS, Rates, campaigns_of_day
from fraud_core.simulation.population import CATEGORIES, TRANSACTIONS_PER_CUSTOMER_DAY, make_population
from fraud_core.simulation.spending import genuine_day
from fraud_core.timestamps import DAY_MS

CURRENCIES = (HOME_CURRENCY, "USD")
_NOT_SIMULATED = ("entry_mode", "ip_address", "email")
_DOLLARS_PER_EURO = 1.1  # what American shops charge for what costs a euro elsewhere


@dataclass(frozen=True)
class SimulatedDay:
    """transactions : in event-time order; the fields of transaction.schema.json, with event_time_ms for the timestamp
        and amount_minor for the amount.
    labels : transaction_id, is_fraud, source, label_time_ms, in order of label time, which may be weeks later.
    kind : (n,) int8, the truth about each transaction, also where no label ever tells: index into
        fraud_patterns.KINDS, 0 for a genuine one.
    """

    transactions: pl.DataFrame
    labels: pl.DataFrame
    kind: np.ndarray

    @property
    def is_fraud(self) -> np.ndarray:
        return self.kind > 0

    @property
    def is_new_kind(self) -> np.ndarray:
        """(n,) bool, which of them are fraud of a kind that is only there when it is asked for."""
        return np.isin(self.kind, NEW_KINDS)


def customers_for(transactions: int, days: int) -> int:
    """How many customers make about that many transactions in that time."""
    return max(50, round(transactions / days / TRANSACTIONS_PER_CUSTOMER_DAY))


class Simulator:
    """``rates``: kinds of fraud that begin more or less often than usual."""

    def __init__(self, n_customers: int, seed: int, rates: Rates = MappingProxyType({})) -> None:
        self._population = make_population(n_customers, seed)
        self._campaigns = lru_cache(maxsize=LONGEST_DAYS + 2)(
            lambda day: campaigns_of_day(self._population, day, rates)
        )
        customers, merchants = self._population.customers, self._population.merchants
        self._user_ids, self._merchant_ids = customers.ids, merchants.ids
        self._category = pl.Series(list(CATEGORIES)).gather(merchants.category)
        self._country = pl.Series(merchants.country)
        self._is_online = np.arange(len(merchants)) >= merchants.first_online

    def customers(self) -> pl.DataFrame:
        """Who is behind a user_id: name and masked card number. Never part of a transaction."""
        customers = self._population.customers
        return pl.DataFrame({"user_id": customers.ids, "name": customers.names, "card": customers.cards})

    def merchants(self) -> pl.DataFrame:
        """Who is behind a merchant_id, in which category and country."""
        names = self._population.merchants.names
        columns = {"name": names, "merchant_category": self._category, "country": self._country}
        return pl.DataFrame({"merchant_id": self._merchant_ids, **columns})

    def day(self, day: int) -> SimulatedDay:
        """All transactions of UTC day ``day`` (days since 1970), and what will become known about them."""
        begun = concat(self._campaigns(start) for start in range(day - LONGEST_DAYS, day + 1))
        events = concat([genuine_day(self._population, day), begun[begun.time_ms // DAY_MS == day]])
        events = events[np.argsort(events.time_ms, kind="stable")]
        rng = np.random.default_rng([self._population.seed, 4, day])
        transactions = self._named(events, day, rng)
        ids = transactions["transaction_id"]
        labels = feedback(ids, events.is_fraud, events.is_declined, events.time_ms, rng)
        return SimulatedDay(transactions, labels.sort("label_time_ms", "transaction_id"), events.kind)

    def _named(self, events: Events, day: int, rng: np.random.Generator) -> pl.DataFrame:
        merchants, n = self._population.merchants, len(events)
        is_online = self._is_online[events.merchant]
        channel = np.where(is_online, 2, rng.random(n) < 0.6)
        is_american = merchants.country[events.merchant] == "US"
        dollar_cents = np.rint(events.amount_minor * _DOLLARS_PER_EURO).astype(np.int64)
        number = pl.int_range(n).cast(pl.String).str.zfill(6)
        return pl.select(
            transaction_id=pl.format(f"t-{self._population.seed}.{len(self._population.customers)}-{day}-{{}}", number),
            user_id=self._user_ids.gather(events.customer),
            merchant_id=self._merchant_ids.gather(events.merchant),
            amount_minor=pl.Series(np.where(is_american, dollar_cents, events.amount_minor)),
            currency=pl.Series(CURRENCIES).gather(is_american.astype(int)),
            event_time_ms=pl.Series(events.time_ms),
            merchant_category=self._category.gather(events.merchant),
            channel=pl.Series(["chip", "contactless", "online"]).gather(channel),
            country=self._country.gather(events.merchant),
            latitude=pl.Series(merchants.latitude[events.merchant]).fill_nan(None),
            longitude=pl.Series(merchants.longitude[events.merchant]).fill_nan(None),
            device_id=pl.when(pl.Series(is_online)).then(pl.format("d-{}", pl.Series(events.device))),
            type=pl.Series(TYPES).gather(events.type),
            outcome=pl.Series(["approved", "declined"]).gather(events.is_declined.astype(int)),
            decline_reason=pl.when(pl.Series(events.is_declined)).then(
                pl.Series(DECLINE_REASONS).gather(events.decline)
            ),
        ).with_columns(pl.lit(None, pl.String).alias(name) for name in _NOT_SIMULATED)
