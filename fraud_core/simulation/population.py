"""Who pays and who is paid: customers with habits, merchants with prices and places. Faker names, numpy draws.

A population follows from its size and its seed alone, so the live stream goes on with the customers of the history.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from faker import Faker

CATEGORIES = {
    # category: median amount, share of merchants, whether it sells what a thief can turn into money
    "grocery": (28.0, 0.20, False),
    "restaurant": (22.0, 0.18, False),
    "fuel": (48.0, 0.08, False),
    "pharmacy": (16.0, 0.08, False),
    "clothing": (55.0, 0.12, False),
    "electronics": (140.0, 0.08, True),
    "travel": (190.0, 0.06, True),
    "entertainment": (19.0, 0.10, False),
    "digital_goods": (12.0, 0.06, True),
    "jewellery": (210.0, 0.04, True),
}
TRANSACTIONS_PER_CUSTOMER_DAY = 1.0
LOCAL_FAVOURITES = 12
ONLINE_FAVOURITES = 5
_CUSTOMERS_PER_MERCHANT = 2.5
_CUSTOMERS_PER_CITY = 60
_ONLINE_SHARE_OF_MERCHANTS = 0.25


@dataclass(frozen=True)
class Merchants:
    """Arrays over m merchants; those of a city lie together: [city_start[c], city_start[c + 1]), online ones last."""

    ids: pl.Series
    names: pl.Series
    category: np.ndarray  # (m,) index into CATEGORIES
    price: np.ndarray  # (m,) float64, what a purchase there costs relative to the customer's habit
    latitude: np.ndarray  # (m,) float64, NaN online
    longitude: np.ndarray
    country: np.ndarray  # (m,) ISO 3166-1 alpha-2
    city_start: np.ndarray  # (cities + 2,) int64; the last stretch are the online merchants

    @property
    def first_online(self) -> int:
        return int(self.city_start[-2])

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Customers:
    """Arrays over n customers."""

    ids: pl.Series
    names: pl.Series
    cards: pl.Series  # masked numbers
    city: np.ndarray  # (n,) home, index of a city
    daily_rate: np.ndarray  # (n,) mean transactions a day
    log_amount: np.ndarray  # (n,) how expensively they buy, in log of a factor
    spread: np.ndarray  # (n,) sd of the log amount
    online_share: np.ndarray  # (n,)
    peak_hour: np.ndarray  # (n,) UTC hour around which they pay
    local_favourites: np.ndarray  # (n, LOCAL_FAVOURITES) merchants
    online_favourites: np.ndarray  # (n, ONLINE_FAVOURITES)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Population:
    customers: Customers
    merchants: Merchants
    seed: int

    @property
    def cities(self) -> int:
        return len(self.merchants.city_start) - 2

    def customers_near(self, merchant: int) -> np.ndarray:
        """Those who live in the merchant's city; everybody for an online merchant or where nobody lives."""
        city = np.searchsorted(self.merchants.city_start, merchant, side="right") - 1
        near = np.flatnonzero(self.customers.city == city)
        return near if len(near) else np.arange(len(self.customers))


def make_population(n_customers: int, seed: int) -> Population:
    """Customers with about one transaction a day each, and the merchants they have."""
    rng = np.random.default_rng([seed, 0])
    fake = Faker("en_GB")
    fake.seed_instance(seed)
    merchants = _merchants(max(60, round(n_customers / _CUSTOMERS_PER_MERCHANT)), n_customers, rng, fake)
    n_cities = len(merchants.city_start) - 2
    city = rng.integers(n_cities, size=n_customers)
    customers = Customers(
        ids=_ids("u", n_customers),
        names=_names(fake.first_name, fake.last_name, n_customers, rng),
        cards=pl.Series([f"**** {fake.credit_card_number()[-4:]}" for _ in range(n_customers)]),
        city=city,
        daily_rate=rng.gamma(2.0, TRANSACTIONS_PER_CUSTOMER_DAY / 2.0, n_customers) + 0.02,
        log_amount=rng.normal(0.0, 0.45, n_customers),
        spread=rng.uniform(0.35, 0.75, n_customers),
        online_share=rng.beta(1.5, 4.0, n_customers),
        peak_hour=rng.normal(14.0, 2.5, n_customers),
        local_favourites=_in_city(merchants, np.repeat(city[:, None], LOCAL_FAVOURITES, axis=1), rng),
        online_favourites=rng.integers(merchants.first_online, len(merchants), (n_customers, ONLINE_FAVOURITES)),
    )
    return Population(customers, merchants, seed)


def merchants_in_city(population: Population, city: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A merchant, drawn at random, of each of the cities; same shape as ``city``."""
    return _in_city(population.merchants, city, rng)


def _merchants(n: int, n_customers: int, rng: np.random.Generator, fake: Faker) -> Merchants:
    n_cities = max(4, n_customers // _CUSTOMERS_PER_CITY)
    n_online = max(10, round(n * _ONLINE_SHARE_OF_MERCHANTS))
    # Each city has a few merchants at least: where nobody sells, nobody can pay.
    city = np.sort(np.concatenate([rng.integers(n_cities, size=n - n_online), np.tile(np.arange(n_cities), 3)]))
    n = len(city) + n_online
    places = [fake.location_on_land(coords_only=False) for _ in range(n_cities)]
    latitude = np.array([float(place[0]) for place in places])
    longitude = np.array([float(place[1]) for place in places])
    country = np.array([place[3] for place in places])
    medians, shares = (np.array([values[column] for values in CATEGORIES.values()]) for column in (0, 1))
    category = rng.choice(len(CATEGORIES), size=n, p=shares / shares.sum())
    nowhere = np.full(n_online, np.nan)
    return Merchants(
        ids=_ids("m", n),
        names=pl.Series([fake.company() for _ in range(n)]),
        category=category,
        price=medians[category] * rng.lognormal(0.0, 0.35, n),
        latitude=np.concatenate([np.round(latitude[city] + rng.normal(0, 0.05, len(city)), 5), nowhere]),
        longitude=np.concatenate([np.round(longitude[city] + rng.normal(0, 0.05, len(city)), 5), nowhere]),
        country=np.concatenate([country[city], rng.choice(country, n_online)]),
        city_start=np.concatenate([np.searchsorted(city, np.arange(n_cities + 1)), [n]]),
    )


def _in_city(merchants: Merchants, city: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    start, end = merchants.city_start[city], merchants.city_start[city + 1]
    chosen: np.ndarray = start + (rng.random(city.shape) * (end - start)).astype(np.int64)
    return chosen


def _ids(prefix: str, n: int) -> pl.Series:
    return pl.select(pl.format("{}-{}", pl.lit(prefix), pl.int_range(n).cast(pl.String).str.zfill(6))).to_series()


def _names(first: Callable[[], str], last: Callable[[], str], n: int, rng: np.random.Generator) -> pl.Series:
    """Full names put together from a few hundred drawn ones: a call to Faker costs more than a transaction."""
    firsts, lasts = ([draw() for _ in range(300)] for draw in (first, last))
    return pl.Series([f"{firsts[a]} {lasts[b]}" for a, b in rng.integers(300, size=(n, 2))])
