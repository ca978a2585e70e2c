"""Codes of currencies and countries in whichever of their usual forms: letters in any case, or ISO's numbers."""

from functools import cache

import iso3166
from iso4217 import Currency


def currency_code(value: str | int) -> str | None:
    """ISO 4217 letters of a code in letters or numbers; None for a code that is neither.

    Three letters that ISO does not list stay a currency: banks have codes of their own.

    >>> currency_code("eur"), currency_code("978"), currency_code(8), currency_code("euro")
    ('EUR', 'EUR', 'ALL', None)
    """
    text = _text(value)
    if text.isdigit():
        return _currencies().get(int(text))
    return text if len(text) == 3 and _is_letters(text) else None


def country_code(value: str | int) -> str | None:
    """ISO 3166-1 alpha-2 of a code in two letters, three letters or numbers; None for a code that is none of them.

    Two letters that ISO does not list stay a country: XK and UK are in use.

    >>> country_code("usa"), country_code(40), country_code("040"), country_code("de"), country_code("Germany")
    ('US', 'AT', 'AT', 'DE', None)
    """
    text = _text(value)
    if text.isdigit():
        found = iso3166.countries_by_numeric.get(f"{int(text):03}")
    elif len(text) == 2 and _is_letters(text):
        return text
    else:
        found = iso3166.countries_by_alpha3.get(text)
    return found.alpha2 if found else None


def _text(value: str | int) -> str:
    return str(value).strip().upper()


def _is_letters(text: str) -> bool:
    return text.isascii() and text.isalpha()


@cache
def _currencies() -> dict[int, str]:
    """ISO 4217 number to letters."""
    return {currency.number: currency.code for currency in Currency if currency.number is not None}
