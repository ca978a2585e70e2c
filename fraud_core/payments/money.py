"""Amounts: units of the currency outside (messages, files, reports), int64 hundredths inside, where sums are exact.

A payment's amount changes its unit twice: in at decoding, out at encoding. A prediction carries it as the feature
``amount``, in units of the currency.
"""

from typing import TypeVar, overload

import numpy as np
import polars as pl

Amounts = TypeVar("Amounts", np.ndarray, pl.Series, pl.Expr)

_MINOR_UNITS = 100


def to_minor_units(amount: np.ndarray) -> np.ndarray:
    """(n,) float64 units of the currency to (n,) int64 hundredths; further decimals are rounded, half to even.

    >>> to_minor_units(np.array([12.34, 0.01]))
    array([1234,    1])
    """
    return np.rint(np.asarray(amount, dtype=np.float64) * _MINOR_UNITS).astype(np.int64)


@overload
def to_major_units(cents: int) -> float: ...
@overload
def to_major_units(cents: Amounts) -> Amounts: ...
def to_major_units(cents: int | Amounts) -> float | Amounts:
    """Hundredths to float64 units of the currency: the nearest double, which ``to_minor_units`` takes back exactly.

    >>> to_major_units(1234)
    12.34
    """
    return cents / _MINOR_UNITS


AMOUNT_CENTS = (pl.col("amount") * _MINOR_UNITS).round(mode="half_to_even").cast(pl.Int64)
"""``to_minor_units`` of the feature ``amount`` of a prediction."""
