"""Amounts: units of their currency outside (messages, files, reports), integers of its minor unit inside: exact sums.

A payment's amount changes its unit twice: in at decoding, out at encoding. What it is worth in another currency is
``features.exchange_rates``.
"""

from functools import cache
from typing import overload

import numpy as np
import polars as pl
from iso4217 import Currency

Units = int | np.ndarray
"""How many minor units make a unit of the currency: of one currency, or (n,) int64, of each row's."""


@cache
def is_listed(currency: str) -> bool:
    """Whether ISO 4217 lists the code.

    >>> is_listed("EUR"), is_listed("ABC")
    (True, False)
    """
    return any(one.code == currency for one in Currency)


@cache
def minor_units(currency: str) -> int:
    """How many minor units make a unit of a currency, by ISO 4217; 100 for a code that it gives none or does not list.

    >>> minor_units("EUR"), minor_units("JPY"), minor_units("KWD"), minor_units("XAU"), minor_units("ABC")
    (100, 1, 1000, 100, 100)
    """
    exponents = {one.code: one.exponent for one in Currency}
    exponent = exponents.get(currency)
    return 100 if exponent is None else int(10**exponent)


def minor_units_of(currencies: pl.Series) -> np.ndarray:
    """(n,) int64, ``minor_units`` of each row's currency."""
    encoded = currencies.to_arrow().dictionary_encode()
    units = np.array([minor_units(name) for name in encoded.dictionary.to_pylist()], dtype=np.int64)
    of_rows: np.ndarray = units[encoded.indices.to_numpy()]
    return of_rows


def to_minor_units(amount: np.ndarray, units: Units) -> np.ndarray:
    """(n,) float64 units of a currency to (n,) int64 minor units; further decimals are rounded, half to even.

    >>> to_minor_units(np.array([12.34, 0.01]), 100)
    array([1234,    1])
    """
    return np.rint(np.asarray(amount, dtype=np.float64) * units).astype(np.int64)


@overload
def to_major_units(minor: int, units: int) -> float: ...
@overload
def to_major_units(minor: np.ndarray, units: Units) -> np.ndarray: ...
def to_major_units(minor: int | np.ndarray, units: Units) -> float | np.ndarray:
    """Minor units to float64 units of the currency: the nearest double, which ``to_minor_units`` takes back exactly.

    Not of polars' columns: polars multiplies by the inverse of a number it divides by.

    >>> to_major_units(1234, 100)
    12.34
    """
    return minor / units


def value_minor(currency: str) -> pl.Expr:
    """What a served payment (PREDICTION_COLUMNS) is worth, in Int64 minor units of the currency of the features; null
    without a rate."""
    minor = (pl.col("amount") * minor_units(currency)).round(mode="half_to_even").cast(pl.Int64)
    return pl.when(pl.col("rate_missing").fill_null(False)).then(None).otherwise(minor)
