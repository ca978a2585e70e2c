"""A CSV file of exchange rates, as ``./run rates import`` and ``./run backtest --rates`` read it."""

import csv
import math
import re
from datetime import date
from pathlib import Path

from fraud_core.features.exchange_rates import BASE, Rates
from fraud_core.input_files.errors import InputFileError
from fraud_core.payments.codes import currency_code

COLUMNS = ("date", "currency", "rate")
_NUMBER = re.compile(r"\d+(\.\d*)?|\.\d+", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_RANGE = (1e-9, 1e12)


class RatesFileError(InputFileError):
    """A file of rates cannot be used. The message names every line that is wrong, one a line."""


def read_rates(file: Path, today: date) -> dict[str, Rates]:
    """By ISO date, units of each currency that one euro buys.

    The file has the columns date (2026-01-30), currency (ISO 4217, in any case) and rate (1.0875), in any order; a byte
    order mark, blank lines and other columns are left alone. RatesFileError names all lines that cannot be used, or
    that say something else than an earlier line; OSError when there is no such file.
    """
    days: dict[str, dict[str, float]] = {}
    errors: list[str] = []
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.DictReader(lines)
            header = {(name or "").strip().lower(): name for name in rows.fieldnames or ()}
            if missing := [name for name in COLUMNS if name not in header]:
                raise RatesFileError(
                    f"{file}: line 1 names no column {', '.join(missing)}; a file of rates begins with "
                    f"{','.join(COLUMNS)}, such as 2026-01-30,USD,1.0875: one euro bought 1.0875 US dollars that day"
                )
            for row in rows:
                try:
                    day, currency, rate = _read(*((row[header[name]] or "").strip() for name in COLUMNS), today=today)
                    known = days.setdefault(day, {}).setdefault(currency, rate)
                    if known != rate:
                        raise ValueError(f"{currency} has another rate on {day} in an earlier line: {known:g}")
                except ValueError as error:
                    errors.append(f"{file}: line {rows.line_num}: {error}")
    except (UnicodeDecodeError, csv.Error) as error:
        raise RatesFileError(f"{file} is no CSV file in UTF-8: {error}") from error
    if not days and not errors:
        errors = [f"{file} holds no rate"]
    if errors:
        raise RatesFileError("\n".join(errors))
    return dict(days)


def _read(day: str, currency: str, rate: str, *, today: date) -> tuple[str, str, float]:
    """ValueError, with all that is wrong with the line."""
    wrong = []
    try:
        parsed = date.fromisoformat(day) if _DAY.fullmatch(day) else None
    except ValueError:
        parsed = None
    if parsed is None:
        wrong.append(f"{day!r} is no date such as 2026-01-30")
    elif parsed > today:
        wrong.append(f"{day} lies in the future")
    code = currency_code(currency)
    if code is None:
        wrong.append(f"{currency!r} is no currency such as USD")
    elif code == BASE:
        wrong.append(f"{BASE} needs no rate: a rate is how many units of a currency one {BASE} buys")
    number = float(rate) if _NUMBER.fullmatch(rate) else math.nan
    if not _RANGE[0] <= number <= _RANGE[1]:
        wrong.append(f"{rate!r} is no rate such as 1.0875, above 0 and with a decimal point")
    if wrong:
        raise ValueError("; ".join(wrong))
    return day, str(code), number
