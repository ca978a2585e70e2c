"""What amounts are worth in one currency: a table of rates a day, looked up by event time.

A table is in force from a moment that lies after its publication, for good: the log of tables only grows at its end.
So what a payment was converted by when it was decided is what training and a rebuild of histories find later, to the
bit (docs/adr/0022-an-amount-is-converted-by-the-rates-in-force-at-its-time.md).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import NamedTuple

import numpy as np
import orjson
import polars as pl

from fraud_core.money import minor_units, minor_units_of
from fraud_core.timestamps import DAY_MS, HOUR_MS, iso_date_ms

BASE = "EUR"
"""A rate says how many units of its currency one unit of this one buys, as the European Central Bank writes them."""

IN_FORCE_AFTER_DAY_MS = 6 * HOUR_MS
"""From the end of a table's day to when it is in force: the daily run of 03:00 UTC publishes it in between."""

PUBLISHED_AHEAD_MS = HOUR_MS
"""Beyond how far event time may lie ahead: for what runs, reads the log and keeps its clock meanwhile."""

GOOD_FOR_MS = 366 * DAY_MS
"""A rate serves until a newer one of its currency does, but no longer than this from its day on: then there is none."""

Rates = Mapping[str, float]
"""By currency, units that one unit of BASE buys."""

# Sums of a thousand stay exact, and so does each as a double.
_LARGEST = 10**15

_EVER_MS = np.iinfo(np.int64).min


@dataclass(frozen=True)
class RateTable:
    """The rates of one ``day`` (ISO date), which count for event times from ``effective_from_ms`` on."""

    day: str
    effective_from_ms: int
    rates: Rates

    @cached_property
    def name(self) -> str:
        """The day and a digest of everything in the table."""
        content = orjson.dumps([self.day, self.effective_from_ms, sorted(self.rates.items())])
        return f"{self.day}-{hashlib.sha256(content).hexdigest()[:12]}"


class Converted(NamedTuple):
    """What (n,) payments are worth.

    amount_minor : int64, in minor units of the wanted currency; of a payment without a rate, in its own currency's.
    comparable_with : uint32, 0 where converted, else a code of the payment's own currency: only amounts with the same
    are compared. units : int64, how many of the minor units make a unit. is_foreign : bool, in another currency.
    """

    amount_minor: np.ndarray
    comparable_with: np.ndarray
    units: np.ndarray
    is_foreign: np.ndarray

    @property
    def is_missing(self) -> np.ndarray:
        """(n,) bool, without a rate."""
        is_missing: np.ndarray = self.comparable_with != 0
        return is_missing

    @property
    def value_minor(self) -> pl.Series:
        """Int64 minor units of the wanted currency, null without a rate."""
        values = pl.Series("value_minor", self.amount_minor)
        return values.set(pl.Series(self.is_missing), None)


class RatesUsed(NamedTuple):
    """By payment: name of the table in force (None: none was, or none was needed), and whether it had no rate."""

    tables: list[str | None]
    is_missing: list[bool]


class ExchangeRates:
    """Converts into ``currency`` by ``tables``, which ascend by effective time."""

    def __init__(self, tables: Sequence[RateTable], currency: str) -> None:
        self.tables = tables
        self.currency = currency
        self._times = np.array([table.effective_from_ms for table in tables], dtype=np.int64)
        self._of: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    @property
    def newest(self) -> str | None:
        """Name of the last table, which identifies all of them."""
        return self.tables[-1].name if self.tables else None

    def convert(self, transactions: pl.DataFrame) -> Converted:
        """transactions : (n, k) with currency, amount_minor and event_time_ms. A value depends on its row alone."""
        own = transactions["amount_minor"].to_numpy()
        amount = np.array(own, dtype=np.int64)
        units = np.full(len(amount), minor_units(self.currency), dtype=np.int64)
        comparable_with = np.zeros(len(amount), dtype=np.uint32)
        is_foreign = (transactions["currency"] != self.currency).to_numpy()
        if is_foreign.any():
            time_ms = transactions["event_time_ms"].to_numpy()
            wanted = self._rate(self.currency, time_ms)
            own_units = minor_units_of(transactions["currency"])
            for currency in transactions["currency"].filter(pl.Series(is_foreign)).unique():
                rows = np.flatnonzero(transactions["currency"] == currency)
                with np.errstate(invalid="ignore"):
                    worth = own[rows] / own_units[rows] / self._rate(currency, time_ms[rows]) * wanted[rows]
                is_known = ~np.isnan(worth)
                converted = np.rint(worth * units[rows])[is_known].clip(-_LARGEST, _LARGEST)
                amount[rows[is_known]] = converted.astype(np.int64)
                comparable_with[rows[~is_known]] = _code(currency)
                units[rows[~is_known]] = own_units[rows[~is_known]]
        return Converted(amount, comparable_with, units, is_foreign)

    def used_for(self, transactions: pl.DataFrame) -> RatesUsed:
        """transactions : as for ``convert``. A payment in ``currency`` itself needs no table."""
        n = len(transactions)
        is_foreign = (transactions["currency"] != self.currency).to_numpy()
        if not is_foreign.any():
            return RatesUsed([None] * n, [False] * n)
        at = np.searchsorted(self._times, transactions["event_time_ms"].to_numpy(), side="right") - 1
        at = np.where(is_foreign, at, -1).tolist()
        names = [None if index < 0 else self.tables[index].name for index in at]
        return RatesUsed(names, self.convert(transactions).is_missing.tolist())

    def _rate(self, currency: str, time_ms: np.ndarray) -> np.ndarray:
        """(n,) float64: units of the currency that one of BASE bought; NaN where no rate was in force."""
        if currency == BASE:
            return np.ones(len(time_ms))
        if currency not in self._of:
            self._of[currency] = _of_currency(currency, self.tables)
        in_force_ms, good_until_ms, rates = self._of[currency]
        at = np.searchsorted(in_force_ms, time_ms, side="right") - 1
        return np.where(time_ms < good_until_ms[at], rates[at], np.nan)


NO_RATES = ExchangeRates((), BASE)


def first_tables(days: Mapping[str, Rates]) -> list[RateTable]:
    """The log before anything was decided by it: each day's table in force as if it had been published in time.

    days : rates by ISO date.
    """
    return [RateTable(day, _in_force_ms(day), days[day]) for day in sorted(days) if days[day]]


def later_tables(
    published: Sequence[RateTable], days: Mapping[str, Rates], not_before_ms: int, *, may_correct: bool = False
) -> list[RateTable]:
    """What of ``days`` can still be added to a log that payments were decided by, in order of effective time.

    A rate is added when it is of a later day than those of its currency in the log, or with ``may_correct`` of the same
    day and another number. None is in force before ``not_before_ms`` or before one that is there. Of the rates of a
    currency that come too late for their days, only the newest can ever be looked up, and the others are left out.
    """
    known: dict[str, tuple[str, float]] = {}
    for table in published:
        known.update({currency: (table.day, rate) for currency, rate in table.rates.items()})
    least_ms = max([not_before_ms, *(table.effective_from_ms + 1 for table in published[-1:])])
    late = [day for day in days if _in_force_ms(day) < least_ms]
    newest_late = {currency: day for day in sorted(late) for currency in days[day]}
    added: list[RateTable] = []
    for day in sorted(days):
        rates = {}
        for currency, rate in days[day].items():
            known_day, known_rate = known.get(currency, ("", 0.0))
            is_newer = day > known_day or (may_correct and day == known_day and rate != known_rate)
            if is_newer and (day not in late or newest_late[currency] == day):
                rates[currency] = rate
        if rates:
            in_force_ms = max(_in_force_ms(day), least_ms)
            added.append(RateTable(day, in_force_ms, rates))
            least_ms = in_force_ms + 1
    return added


def earliest_in_force_ms(published_ms: int, future_tolerance_ms: int) -> int:
    """From when on a table that is published then may be in force: later than any event time that is decided before the
    stream has read it."""
    return published_ms + future_tolerance_ms + PUBLISHED_AHEAD_MS


def _in_force_ms(day: str) -> int:
    end = date.fromisoformat(day) + timedelta(days=1)
    return iso_date_ms(end.isoformat()) + IN_FORCE_AFTER_DAY_MS


def _of_currency(currency: str, tables: Sequence[RateTable]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Its rates: from when on each is in force, until when it serves, and the rate. The first stands for none."""
    having = [table for table in tables if currency in table.rates]
    in_force_ms = [_EVER_MS, *(table.effective_from_ms for table in having)]
    good_until_ms = [_EVER_MS, *(iso_date_ms(table.day) + GOOD_FOR_MS for table in having)]
    rates = [np.nan, *(table.rates[currency] for table in having)]
    return np.array(in_force_ms, np.int64), np.array(good_until_ms, np.int64), np.array(rates, np.float64)


def _code(currency: str) -> int:
    """A number of three letters that is never 0."""
    return int.from_bytes(currency.encode(), "big")
