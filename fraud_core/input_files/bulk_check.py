"""The check of many rows at once: proves rows good without saying what is wrong with the others.

There is one set of rules, the schema's, applied row by row in ``decoded_rows``; what is proven here is what that check
would accept, to the same bits (a test compares the two). Anything else, good or not, is left to it: common forms are
handled here, rare ones there. It is twenty times as fast.
"""

import numpy as np
import polars as pl

from fraud_core.input_files.messages import BOOLEANS, DEFAULT_SOURCE
from fraud_core.payments.transaction import OPTIONAL
from fraud_core.schema import load_schema
from fraud_core.timestamps import SECOND_MS
from fraud_core.topics import FEEDBACK, TRANSACTIONS

_RULES = load_schema(TRANSACTIONS.schema)["properties"]
_SOURCES = load_schema(FEEDBACK.schema)["properties"]["source"]["enum"]
_NUMBER = r"^-?[0-9]{1,12}(\.[0-9]{1,6})?$"
_TIME = (
    r"^(19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(\.[0-9]{1,6})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$"
)

_NEVER = pl.lit(False)
Proof = tuple[pl.Expr, pl.Expr]  # the value, and whether it is proven good (or, for an optional column, null)


def proven_transactions(raw: pl.DataFrame, now_ms: int) -> tuple[pl.DataFrame, np.ndarray]:
    """The rows that are good for certain, and which these are, (n,) bool.

    raw : chunks.Chunk.columns. Returns ids, amount_cents, currency, event_time_ms and the optional columns of
    transaction.COLUMNS.
    """
    proofs = {
        **{name: _text(raw, name) for name in ("transaction_id", "user_id", "merchant_id", "currency")},
        "amount": _number(raw, "amount"),
        "event_time_ms": _time(raw, "timestamp"),
        **{name: _number(raw, name) if dtype == pl.Float64 else _text(raw, name) for name, dtype in OPTIONAL.items()},
    }
    is_good = [good.fill_null(name in OPTIONAL) for name, (_, good) in proofs.items()]
    values = raw.select(
        **{name: value for name, (value, _) in proofs.items()}, is_good=pl.all_horizontal(is_good)
    ).with_columns(is_good=pl.col("is_good") & (pl.col("event_time_ms") <= now_ms).fill_null(False))
    good = values.filter("is_good")
    # Exactly as transaction.decode_transactions rounds.
    cents = np.rint(good["amount"].to_numpy() * 100).astype(np.int64)
    return good.drop("amount", "is_good").with_columns(amount_cents=cents), values["is_good"].to_numpy()


def proven_labels(raw: pl.DataFrame) -> tuple[pl.DataFrame, np.ndarray]:
    """The same for labels: transaction_id, is_fraud, source, label_time_ms (null in a row that does not say it)."""
    source = pl.col("source") if raw.schema.get("source") == pl.String else pl.lit(None, pl.String)
    no_source = pl.col("source").is_null() if "source" in raw.columns else pl.lit(True)
    time, time_is_good = _time(raw, "label_time")
    no_time = pl.col("label_time").is_null() if "label_time" in raw.columns else pl.lit(True)
    identity, id_is_good = _text(raw, "transaction_id")
    is_fraud, is_fraud_is_good = _boolean(raw, "is_fraud")
    values = raw.select(
        transaction_id=identity,
        is_fraud=is_fraud,
        source=source.fill_null(DEFAULT_SOURCE),
        label_time_ms=time,
        is_good=id_is_good.fill_null(False)
        & is_fraud_is_good.fill_null(False)
        & (no_source | source.is_in(_SOURCES).fill_null(False))
        & (no_time | time_is_good.fill_null(False)),
    )
    return values.filter("is_good").drop("is_good"), values["is_good"].to_numpy()


def _text(raw: pl.DataFrame, name: str) -> Proof:
    rule, column = _RULES[name], pl.col(name)
    if name not in raw.columns:
        return pl.lit(None, pl.String), pl.lit(None, pl.Boolean)
    if raw.schema[name] != pl.String:
        is_number = raw.schema[name].is_integer() and name.endswith("_id")
        return column.cast(pl.String, strict=False), _if_not_null(column, pl.lit(is_number))
    if "enum" in rule:
        return column, column.is_in([value for value in rule["enum"] if value is not None])
    if "pattern" in rule:
        return column, column.str.contains(rule["pattern"])
    return column, column.str.len_chars().is_between(rule.get("minLength", 0), rule["maxLength"])


def _number(raw: pl.DataFrame, name: str) -> Proof:
    if name not in raw.columns:
        return pl.lit(None, pl.Float64), pl.lit(None, pl.Boolean)
    dtype, column = raw.schema[name], pl.col(name)
    value = column.cast(pl.Float64, strict=False)
    in_range = value.is_between(_RULES[name]["minimum"], _RULES[name]["maximum"])
    if dtype == pl.String:
        return value, column.str.contains(_NUMBER) & in_range
    is_plain = dtype.is_float() or dtype.is_integer()
    return value, _if_not_null(column, in_range if is_plain else _NEVER)


def _time(raw: pl.DataFrame, name: str) -> Proof:
    dtype, column = raw.schema.get(name), pl.col(name)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        value = column.dt.epoch("ms")
        return value, value >= 0
    if dtype != pl.String:
        return pl.lit(None, pl.Int64), _if_not_null(column, _NEVER) if name in raw.columns else pl.lit(None, pl.Boolean)
    seconds = column.str.slice(0, 19).str.replace(" ", "T", literal=True)
    whole_ms = seconds.str.to_datetime("%Y-%m-%dT%H:%M:%S", strict=False, time_unit="ms").dt.epoch("ms")
    fraction_ms = column.str.extract(r"\.([0-9]{1,3})").str.pad_end(3, "0").cast(pl.Int64, strict=False).fill_null(0)
    hours, minutes = (column.str.slice(at, 2).cast(pl.Int64, strict=False).fill_null(0) for at in (-5, -2))
    ahead_ms = pl.when(column.str.ends_with("Z")).then(0).otherwise((hours * 60 + minutes) * 60 * SECOND_MS)
    ahead_ms = pl.when(column.str.slice(-6, 1) == "-").then(-ahead_ms).otherwise(ahead_ms)
    value = whole_ms + fraction_ms - ahead_ms
    return value, column.str.contains(_TIME) & value.is_not_null()


def _boolean(raw: pl.DataFrame, name: str) -> Proof:
    dtype, column = raw.schema[name], pl.col(name)
    if dtype == pl.Boolean:
        return column, column.is_not_null()
    if dtype == pl.String or dtype.is_integer():
        value = column.cast(pl.String).replace_strict(BOOLEANS, default=None, return_dtype=pl.Boolean)
        return value, value.is_not_null()
    return pl.lit(None, pl.Boolean), _NEVER


def _if_not_null(column: pl.Expr, good: pl.Expr) -> pl.Expr:
    return pl.when(column.is_not_null()).then(good)
