"""Amounts as statements and exports write them: a currency sign, grouped thousands, CR, brackets, a sign at the end."""

import re
from functools import cache
from reprlib import repr as quoted  # of a bounded length, however deep the value
from typing import Literal

DecimalSign = Literal[".", ","]

PLAIN_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_SPACES = str.maketrans(
    {"\N{NO-BREAK SPACE}": " ", "\N{NARROW NO-BREAK SPACE}": " ", "\N{RIGHT SINGLE QUOTATION MARK}": "'"}
)
_SIGN = r"[+\-\N{MINUS SIGN}]"
_MINUSES = "-\N{MINUS SIGN}"
# What names the currency, and CR: words and signs without a digit. Possessive: a hostile text is read once.
_NAME = r"(?:[^\d\s+\-\N{MINUS SIGN}.,()'][^\d\s+\-\N{MINUS SIGN},()']*+\s*+)*+"
_AMOUNT = re.compile(
    rf"(?P<bracket>\()?\s*+(?P<sign>{_SIGN}?)\s*+{_NAME}(?P<inner>{_SIGN}?)\s*+"
    rf"(?P<number>[\d.,'\s]*\d[.,]?)\s*+(?P<last>{_SIGN}?)\s*+(?P<after>{_NAME})(?(bracket)\))"
)
_CREDIT = re.compile(r"\bCR?\b", re.IGNORECASE)


def parse_amount(value: object, decimal: DecimalSign = ".") -> float:
    """Units of the currency: a number as it is, a text without what names the currency. Credits (CR) are negative.

    decimal : what stands before the decimals in a text; the other sign, an apostrophe and a space group thousands.
    ValueError with a sentence when the value is no amount or can be read in two ways.

    >>> [parse_amount(text) for text in ("$-99.00", "£1,183.23", "+ £1,100.00 CR", "(12.50)", "7.00-")]
    [-99.0, 1183.23, -1100.0, -12.5, -7.0]
    >>> parse_amount("1.234,56 €", ",")
    1234.56
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        raise ValueError(f"{quoted(value)} is no amount")
    text = value.strip().translate(_SPACES)
    if decimal == "." and PLAIN_NUMBER.fullmatch(text):
        return float(text)
    found = _AMOUNT.fullmatch(text)
    if not found:
        raise ValueError(f"{quoted(value)} is no amount")
    number = _number(decimal).fullmatch(found["number"])
    if not number:
        raise ValueError(f"{quoted(value)} is no amount with '{decimal}' before its decimals")
    whole = re.sub(r"\D", "", number["whole"])
    amount = float(f"{whole or 0}.{number['decimals'] or 0}")
    signs = found["sign"] + found["inner"] + found["last"]
    if len(signs) > 1:
        raise ValueError(f"{quoted(value)} has two signs")
    is_credit = bool(found["bracket"]) or (signs != "" and signs in _MINUSES) or bool(_CREDIT.search(found["after"]))
    return -amount if is_credit else amount


@cache
def _number(decimal: DecimalSign) -> re.Pattern[str]:
    """Digits, in groups of three where they are grouped at all (in India of two before the last)."""
    group = r",'\s" if decimal == "." else r".'\s"
    return re.compile(
        rf"(?P<whole>\d{{1,3}}(?P<group>[{group}])(?:\d{{2,3}}(?P=group))*\d{{3}}|\d*)(?:\{decimal}(?P<decimals>\d*))?",
        re.ASCII,
    )
