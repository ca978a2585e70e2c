"""The check of many rows at once: proves rows good without naming what is wrong with the others.

There is one set of rules, the schema's, applied row by row in ``decoded_rows``. Here each keyword of it becomes an
expression over a column, and a keyword without one is an error at import: what is proven is what the check row by row
accepts, to the same bits (a test compares the two). All other rows, good or not, are left to that check: common ways to
write a value are handled here, rare ones there. It is ten times as fast.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from fraud_core.input_files.messages import DEFAULT_SOURCE, IDS, REQUIRED_LABEL_COLUMNS
from fraud_core.labels.known import BOOLEANS
from fraud_core.money import minor_units_of, to_minor_units
from fraud_core.payments.times import EARLIEST_MS
from fraud_core.schema import load_schema
from fraud_core.timestamps import SECOND_MS, format_rfc3339_ms
from fraud_core.topics import FEEDBACK, TRANSACTIONS

_NUMBER = r"^-?[0-9]{1,12}(\.[0-9]{1,6})?$"
_TIME = (
    r"^(19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(\.[0-9]{1,6})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$"
)
_TIMES = ("timestamp", "label_time")

# Keywords of a message: ``not`` names properties that no row's message has.
_OF_MESSAGE = {"$schema", "title", "description", "type", "required", "properties", "not"}
_OF_PROPERTY: dict[str, Callable[[pl.Expr, Any], pl.Expr]] = {
    "enum": lambda value, allowed: value.is_in([one for one in allowed if one is not None]),
    "pattern": lambda value, pattern: value.str.contains(_in_rust(pattern)),
    "minLength": lambda value, least: value.str.len_chars() >= least,
    "maxLength": lambda value, most: value.str.len_chars() <= most,
    "minimum": lambda value, least: value >= least,
    "maximum": lambda value, most: value <= most,
}
_NEVER = pl.lit(False)
Proof = tuple[pl.Expr, pl.Expr]  # the value, and whether it was read for certain; null where the row has no value


@dataclass(frozen=True)
class Rule:
    """``kind``: string, number, boolean or time. ``is_good``: whether a value of that kind keeps the schema's rule."""

    kind: str
    is_good: Callable[[pl.Expr], pl.Expr]


def rules_of(schema: dict[str, Any]) -> dict[str, Rule]:
    """By property. ValueError for a keyword or a type that the check in bulk does not follow."""
    if unknown := set(schema) - _OF_MESSAGE:
        raise ValueError(f"the check in bulk does not follow {sorted(unknown)} of {schema['title']}")
    return {name: _rule(name, rule) for name, rule in schema["properties"].items()}


def _rule(name: str, rule: dict[str, Any]) -> Rule:
    limits = {keyword: limit for keyword, limit in rule.items() if keyword not in ("type", "description")}
    if unknown := set(limits) - set(_OF_PROPERTY):
        raise ValueError(f"the check in bulk does not follow {sorted(unknown)} of {name}")
    if name in _TIMES:
        # A row's message holds its time as format_rfc3339_ms writes it, however the row does.
        if set(limits) != {"pattern"} or not re.search(limits["pattern"], format_rfc3339_ms(0)):
            raise ValueError(f"the check in bulk does not follow {name}: messages write {format_rfc3339_ms(0)}")
        return Rule("time", pl.Expr.is_not_null)
    types = rule.get("type", "string")
    kinds = {types} if isinstance(types, str) else set(types) - {"null"}
    is_text = all(isinstance(one, str | None) for one in limits.get("enum", ()))
    if len(kinds) != 1 or not kinds <= {"string", "number", "boolean"} or not is_text:
        raise ValueError(f"the check in bulk does not follow the type of {name}")

    def is_good(value: pl.Expr) -> pl.Expr:
        return pl.all_horizontal(value.is_not_null(), *(_OF_PROPERTY[key](value, limits[key]) for key in limits))

    return Rule(kinds.pop(), is_good)


def _in_rust(pattern: str) -> str:
    """A pattern as polars reads it: there, other than in JSON Schema, \\d is a digit of any script."""
    if re.search(r"\\[a-ceg-zA-Z]", pattern):
        raise ValueError(f"the check in bulk does not follow the pattern {pattern}")
    return pattern.replace(r"\d", "[0-9]")


_TRANSACTION_SCHEMA = load_schema(TRANSACTIONS.schema)
_TRANSACTION_RULES = rules_of(_TRANSACTION_SCHEMA)
_LABEL_RULES = rules_of(load_schema(FEEDBACK.schema))


def proven_transactions(raw: pl.DataFrame, now_ms: int) -> tuple[pl.DataFrame, np.ndarray]:
    """The rows that are good for certain, and which these are, (n,) bool.

    raw : chunks.Chunk.columns. Returns the properties of the schema, with amount_minor for the amount and event_time_ms
    for the timestamp.
    """
    values, is_proven = _proven(raw, _TRANSACTION_RULES, _TRANSACTION_SCHEMA["required"])
    is_proven &= (values["timestamp"] <= now_ms).fill_null(False)
    good = values.filter(is_proven).rename({"timestamp": "event_time_ms"})
    amount = to_minor_units(good["amount"].to_numpy(), minor_units_of(good["currency"]))
    return good.drop("amount").with_columns(amount_minor=amount), is_proven.to_numpy()


def proven_labels(raw: pl.DataFrame) -> tuple[pl.DataFrame, np.ndarray]:
    """The same for labels: transaction_id, is_fraud, source, label_time_ms (null in a row without a time)."""
    values, is_proven = _proven(raw, _LABEL_RULES, REQUIRED_LABEL_COLUMNS)
    good = values.filter(is_proven).rename({"label_time": "label_time_ms"})
    return good.with_columns(pl.col("source").fill_null(DEFAULT_SOURCE)), is_proven.to_numpy()


def _proven(raw: pl.DataFrame, rules: dict[str, Rule], required: Sequence[str]) -> tuple[pl.DataFrame, pl.Series]:
    """Values by property, and which rows are good for certain; a property that is not required may be null."""
    proofs = {name: _proof(raw, name, rule) for name, rule in rules.items()}
    is_good = pl.all_horizontal(good.fill_null(name not in required) for name, (_, good) in proofs.items())
    values = raw.select(**{name: value for name, (value, _) in proofs.items()}, _is_good=is_good)
    return values.drop("_is_good"), values["_is_good"]


def _proof(raw: pl.DataFrame, name: str, rule: Rule) -> Proof:
    read, dtype = _READERS[rule.kind]
    if name not in raw.columns:
        return pl.lit(None, dtype), pl.lit(None, pl.Boolean)
    column = pl.col(name)
    value, is_readable = read(column, raw.schema[name], is_id=name in IDS)
    return value, pl.when(column.is_not_null()).then(is_readable & rule.is_good(value))


def _text(column: pl.Expr, dtype: pl.DataType, *, is_id: bool) -> Proof:
    return column.cast(pl.String, strict=False), pl.lit(dtype == pl.String or (is_id and dtype.is_integer()))


def _number(column: pl.Expr, dtype: pl.DataType, **_: bool) -> Proof:
    value = column.cast(pl.Float64, strict=False)
    if dtype == pl.String:
        return value, column.str.contains(_NUMBER)
    return value, value.is_finite() if dtype.is_float() or dtype.is_integer() else _NEVER


def _time(column: pl.Expr, dtype: pl.DataType, **_: bool) -> Proof:
    """Milliseconds since 1970, UTC."""
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        value = column.dt.epoch("ms")
        return value, value >= EARLIEST_MS
    if dtype != pl.String:
        return pl.lit(None, pl.Int64), _NEVER
    seconds = column.str.slice(0, 19).str.replace(" ", "T", literal=True)
    whole_ms = seconds.str.to_datetime("%Y-%m-%dT%H:%M:%S", strict=False, time_unit="ms").dt.epoch("ms")
    fraction_ms = column.str.extract(r"\.([0-9]{1,3})").str.pad_end(3, "0").cast(pl.Int64, strict=False).fill_null(0)
    hours, minutes = (column.str.slice(at, 2).cast(pl.Int64, strict=False).fill_null(0) for at in (-5, -2))
    ahead_ms = pl.when(column.str.ends_with("Z")).then(0).otherwise((hours * 60 + minutes) * 60 * SECOND_MS)
    ahead_ms = pl.when(column.str.slice(-6, 1) == "-").then(-ahead_ms).otherwise(ahead_ms)
    value = whole_ms + fraction_ms - ahead_ms
    return value, column.str.contains(_TIME) & (value >= EARLIEST_MS)


def _boolean(column: pl.Expr, dtype: pl.DataType, **_: bool) -> Proof:
    if dtype == pl.Boolean:
        return column, pl.lit(True)
    if dtype == pl.String or dtype.is_integer():
        return column.cast(pl.String).replace_strict(BOOLEANS, default=None, return_dtype=pl.Boolean), pl.lit(True)
    return pl.lit(None, pl.Boolean), _NEVER


_READERS = {
    "string": (_text, pl.String),
    "number": (_number, pl.Float64),
    "boolean": (_boolean, pl.Boolean),
    "time": (_time, pl.Int64),
}
