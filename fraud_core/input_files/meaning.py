"""What a value of a file stands for before the stream's reader sees it: nothing, a decimal comma, a damaged id.

A row is read as the stream reads a message; here is only what files have and messages do not.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from reprlib import repr as quoted
from typing import Any

import polars as pl

from fraud_core.input_files.messages import IDS, NUMBERS

NOTHING = frozenset(("na", "n/a", "#n/a", "<na>", "null", "none", "nan", "\\n", "-", "--"))
"""Spellings of a missing value, in lower case."""
# 4.0E+15 is how a spreadsheet shows, and saves, a number that is too long for its cell.
_DAMAGED = re.compile(r"\d([.,]\d+)?E\+\d{2,3}", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?(\d{1,3}([. '\u00a0\u2019]\d{3})+|\d+)?(,\d+)?", re.ASCII)
_EXACT = 2**53
# Values that ``_meant`` may change. Others are left alone, by the ten thousand.
_SUSPECT = r"(?i)^\s*(na|n/a|#n/a|<na>|null|none|nan|\\n|--?)\s*$|^\d([.,]\d+)?E\+\d{2,3}$"


@dataclass
class Meaning:
    """decimal_comma : amounts and places are written 1.234,56. nothing : how often a field held a spelling of nothing,
    by field and spelling. unusable : how often an optional field held a damaged id, by field."""

    decimal_comma: bool = False
    nothing: Counter[tuple[str, str]] = field(default_factory=Counter)
    unusable: Counter[str] = field(default_factory=Counter)
    is_namibia: bool = False
    """Whether ``NA`` as a country is Namibia: see ``look_at``."""

    def look_at(self, first: pl.DataFrame) -> None:
        """The first rows of a file tell what NA is as a country: Namibia where the column leaves fields empty and holds
        codes of two letters, nothing elsewhere. NAM and 516 are Namibia everywhere."""
        country = first["country"] if "country" in first.columns else pl.Series([], dtype=pl.String)
        self.is_namibia = (
            country.dtype == pl.String
            and country.null_count() > 0
            and country.is_not_null().any()
            and bool(country.drop_nulls().str.contains("^[A-Za-z]{2}$").all())
        )

    def _meant(self, name: str, value: Any) -> Any:
        """None where it stands for nothing. ValueError with the reason when it cannot be what it stands for."""
        if isinstance(value, float):
            if value != value:
                return None
            if name in IDS and abs(value) >= _EXACT:
                raise ValueError(f"{value} is a rounded number: export the ids as text or whole numbers")
            return value
        if not isinstance(value, str):
            return value
        text = value.strip()
        if text.lower() in NOTHING and not (name == "country" and text == "NA" and self.is_namibia):
            return None
        if name in IDS and _DAMAGED.fullmatch(value):
            raise ValueError(
                f"{quoted(value)} is what a spreadsheet leaves of a long number, whose digits are lost: export the "
                "column as text"
            )
        if self.decimal_comma and name in NUMBERS and text:
            if not _DECIMAL_COMMA.fullmatch(text):
                raise ValueError(f"{quoted(value)} is no number with a decimal comma, such as 1.234,56")
            return re.sub(r"[. '\u00a0\u2019]", "", text).replace(",", ".")
        return value

    def of_row(self, row: dict[str, Any], required: Collection[str]) -> dict[str, Any] | str:
        """The row as it is meant, or what is wrong with it."""
        meant, problems = {}, []
        for name, value in row.items():
            meant[name], problem = self._judged(name, value, required, 1)
            if problem:
                problems.append(problem)
        return "; ".join(problems) or meant

    def of_columns(self, columns: pl.DataFrame, required: Collection[str], problems: dict[int, str]) -> pl.DataFrame:
        """The same for columns; ``problems`` gets what is wrong with a row, by its index."""
        return pl.DataFrame([self._of_column(column, required, problems) for column in columns])

    def _of_column(self, column: pl.Series, required: Collection[str], problems: dict[int, str]) -> pl.Series:
        name = column.name
        if column.dtype == pl.String:
            is_every = self.decimal_comma and name in NUMBERS
            is_suspect = column.is_not_null() if is_every else column.str.contains(_SUSPECT)
        elif column.dtype.is_float():
            is_suspect = column.is_nan() | ((column.abs() >= _EXACT) if name in IDS else False)
        else:
            return column
        is_suspect = is_suspect.fill_null(False)
        if not is_suspect.any():
            return column
        suspects, places = column.filter(is_suspect), is_suspect.arg_true().to_list()
        if column.dtype == pl.String:
            by_value = {value: self._judged(name, value, required, count) for value, count in _counted(suspects)}
            judged = [by_value[value] for value in suspects]
        else:  # these are few, and NaN is equal to nothing
            judged = [self._judged(name, value, required, 1) for value in suspects]
        for index, (_, problem) in zip(places, judged, strict=True):
            if problem:
                problems[index] = f"{problems[index]}; {problem}" if index in problems else problem
        return column.scatter(places, pl.Series([meant for meant, _ in judged], dtype=column.dtype))

    def _judged(self, name: str, value: Any, required: Collection[str], times: int) -> tuple[Any, str | None]:
        """What a value means that a field held so many times, and what is wrong with its row."""
        try:
            meant = self._meant(name, value)
        except ValueError as error:
            if name in required:
                return None, f"{name}: {error}"
            self.unusable[name] += times
            return None, None
        if meant is None and value is not None:
            if name in required:
                return None, f"{name}: {quoted(value)} stands for nothing"
            self.nothing[name, str(value).strip()] += times
        return meant, None


def _counted(values: pl.Series) -> Iterator[tuple[str, int]]:
    return values.value_counts().iter_rows()
