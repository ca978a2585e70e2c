"""The check in bulk proves nothing that the check row by row would refuse or read otherwise."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_core.input_files.bulk_check import proven_labels, proven_transactions, rules_of
from fraud_core.input_files.chunks import chunks_of
from fraud_core.input_files.decoded_rows import decode_label_rows, decode_transaction_rows
from fraud_core.input_files.meaning import Meaning
from fraud_core.input_files.messages import (
    LABEL_COLUMNS,
    REQUIRED_LABEL_COLUMNS,
    REQUIRED_TRANSACTION_COLUMNS,
    TRANSACTION_COLUMNS,
)
from fraud_core.input_files.refused import Refused
from fraud_core.input_files.sources import sources_of
from fraud_core.payments.reader import ReadingRules
from fraud_core.schema import load_schema
from fraud_core.timestamps import parse_rfc3339_ms
from fraud_core.topics import TRANSACTIONS

NOW_MS = parse_rfc3339_ms("2026-06-01T00:00:00Z")
GOOD = {
    "transaction_id": "t-1",
    "user_id": "u-1",
    "merchant_id": "m-1",
    "amount": 10.5,
    "currency": "EUR",
    "timestamp": "2026-01-31T12:00:00Z",
}
AMOUNTS = (
    "1",
    "0.005",
    "0.01",
    "0",
    "-1",
    "1e3",
    "1000000000.00",
    "1000000000.01",
    "12.345",
    "12.675",
    ".5",
    "5.",
    " 7",
)
AMOUNTS += ("٣", "nan", "inf", "1_0", "+3", "99999999999999999999", "0.1234567")
TIMES = (
    "2026-01-31T12:00:00Z",
    "2026-01-31 12:00:00.5+01:00",
    "2026-01-31T12:00:00.123456-05:30",
    "2026-01-31T12:00:00",
)
TIMES += (
    "2026-02-30T12:00:00Z",
    "2026-01-31T24:00:00Z",
    "2026-01-31T23:59:60Z",
    "2026-01-31T12:00Z",
    "1969-12-31T23:59:59.9Z",
)
TIMES += (
    "2026-06-01T00:00:00Z",
    "2026-06-01T00:00:00.001Z",
    "2026-01-31T12:00:00z",
    "2026-01-31T12:00:00+15:00",
    "20260131",
    "",
)
NAMES = ("a", "", "ü" * 64, "ü" * 65, "a" * 65, "4711", " ", None)
TEXTS = {
    "transaction_id": NAMES,
    "user_id": NAMES,
    "merchant_id": NAMES,
    "amount": AMOUNTS,
    "currency": ("EUR", "JPY", "KWD", "eur", "EURO", "EUR\n", "ÄÖÜ"),
    "timestamp": TIMES,
    "channel": ("chip", "online", "phone", "", None),
    "country": ("DE", "de", "", None),
    "latitude": ("52.5", "-90", "90.1", "x", "", None),
    "device_id": NAMES,
    "merchant_category": NAMES,
    "type": ("refund", "Refund", "", None),
    "outcome": ("approved", "DECLINED", "pending", "", None),
    "decline_reason": NAMES,
    "entry_mode": ("chip", "KEYED", None),
    "ip_address": NAMES,
    "email": (*NAMES, "e" * 254, "e" * 255),
}
TYPED = {
    "transaction_id": (17, True, 2**70),
    "amount": (3, 3.5, True, 2**70),
    "latitude": (3, 200, 0.25),
    "country": (1,),
    "decline_reason": (51,),
}


@st.composite
def tables(draw, values: dict[str, tuple]) -> list[dict]:
    """A good row and a few with one or two fields changed."""
    names = st.sampled_from(sorted(values))
    changes = st.lists(st.lists(names, min_size=0, max_size=2, unique=True), min_size=1, max_size=6)
    return [
        GOOD,
        *(GOOD | {name: draw(st.sampled_from(values[name])) for name in changed} for changed in draw(changes)),
    ]


def both_ways(file: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What the bulk proves of a file, and what the check row by row makes of the same rows, with their numbers."""
    (source,) = sources_of(file)
    (chunk,) = chunks_of(source, TRANSACTION_COLUMNS, REQUIRED_TRANSACTION_COLUMNS, Meaning())
    proven, is_proven = proven_transactions(chunk.columns, NOW_MS)
    refused = Refused()
    decoded = decode_transaction_rows(source, chunk.rows(is_proven), refused, now_ms=NOW_MS, rules=ReadingRules(0))
    assert refused.counts.total() == 0
    return proven.with_columns(offset=chunk.numbers[is_proven]), decoded.select(*proven.columns, "offset")


@given(tables(TEXTS))
def test_proven_rows_of_a_csv_file_are_accepted_row_by_row_with_the_same_values(rows):
    with TemporaryDirectory() as folder:
        file = Path(folder) / "a.csv"
        pl.DataFrame([dict.fromkeys(TEXTS) | row | {"amount": str(row["amount"])} for row in rows]).write_csv(file)
        proven, decoded = both_ways(file)
        assert proven.equals(decoded)
        assert 2 in proven["offset"]  # the good one is not left to the slow check


@given(tables({name: (*values, *TYPED.get(name, ())) for name, values in TEXTS.items()}))
def test_proven_rows_of_a_json_lines_file_are_accepted_row_by_row_with_the_same_values(rows):
    with TemporaryDirectory() as folder:
        file = Path(folder) / "a.jsonl"
        file.write_bytes(b"\n".join(_json(row) for row in rows))
        proven, decoded = both_ways(file)
        assert proven.equals(decoded)


def _json(row: dict) -> bytes:
    big = {name: value for name, value in row.items() if type(value) is int and value >= 2**64}
    line = orjson.dumps({**row, **dict.fromkeys(big, "BIG")})
    return line.replace(b'"BIG"', str(2**70).encode())


def test_typed_columns_of_a_parquet_file_are_proven_without_the_slow_check(tmp_path):
    typed = pl.DataFrame([GOOD | {"amount": amount} for amount in (0.01, 10.5, 12.345, 1e9)]).with_columns(
        pl.col("timestamp").str.to_datetime(time_unit="ns", time_zone="Europe/Berlin"),
        pl.int_range(pl.len()).alias("transaction_id"),
        pl.col("currency").cast(pl.Categorical),
        channel=None,
    )
    typed.write_parquet(tmp_path / "a.parquet")
    proven, decoded = both_ways(tmp_path / "a.parquet")
    assert proven.equals(decoded)
    assert proven["amount_minor"].to_list() == [1, 1050, 1234, 10**11]


@pytest.mark.parametrize(
    "column",
    [
        pl.Series("amount", [Decimal("10.50")] * 2),
        pl.Series("timestamp", [datetime(2026, 1, 31, 12)] * 2),
        pl.Series("timestamp", [datetime(1960, 1, 31, 12, tzinfo=UTC)] * 2),
        pl.Series("country", [49, 50]),
        pl.Series("user_id", [1.5, 2.5]),
    ],
)
def test_a_column_of_an_unusual_type_is_left_to_the_check_row_by_row(tmp_path, column):
    pl.DataFrame([GOOD] * 2).with_columns(column).write_parquet(tmp_path / "a.parquet")
    proven, _ = both_ways(tmp_path / "a.parquet")
    assert proven.height == 0


LABELS = {
    "transaction_id": NAMES,
    "is_fraud": ("0", "1", "True", "false", "1.0", "yes", "", 0, 1, True, False, 2, 1.0, None),
    "label_time": (*TIMES, None),
    "source": ("chargeback", "analyst", "neighbour", "", None),
}


@given(st.lists(st.fixed_dictionaries({name: st.sampled_from(values) for name, values in LABELS.items()}), min_size=1))
def test_proven_labels_are_accepted_row_by_row_with_the_same_values(rows):
    with TemporaryDirectory() as folder:
        file = Path(folder) / "l.jsonl"
        file.write_bytes(b"\n".join(map(orjson.dumps, rows)))
        (source,) = sources_of(file)
        (chunk,) = chunks_of(source, LABEL_COLUMNS, REQUIRED_LABEL_COLUMNS, Meaning())
        proven, is_proven = proven_labels(chunk.columns)
        refused = Refused()
        decoded, is_dated = decode_label_rows(source, chunk.rows(is_proven), refused, ReadingRules(0))
        assert refused.counts.total() == 0
        dated = decoded.with_columns(label_time_ms=pl.when(pl.Series(is_dated, dtype=pl.Boolean)).then("label_time_ms"))
        assert proven.equals(dated.select(proven.columns))


def test_the_schemas_rules_are_what_the_bulk_check_applies():
    """Of a schema with other limits the proof is another one, without a line of code."""
    schema = load_schema(TRANSACTIONS.schema)
    properties = schema["properties"]
    properties["currency"] |= {"pattern": r"^[A-Z]{2}\d$", "maxLength": 3, "enum": ["AB1", "AB2", "ABC"]}
    properties["latitude"] |= {"minimum": 10}
    rules = rules_of(schema)
    rows = pl.DataFrame({"currency": ["AB1", "AB2", "ABC", "AB3", "AB٣"], "latitude": [10.0, 9.5, 10.0, 80.0, 80.0]})
    good = rows.select(rules["currency"].is_good(pl.col("currency")), rules["latitude"].is_good(pl.col("latitude")))
    assert good.rows() == [(True, True), (True, False), (False, True), (False, True), (False, True)]


@pytest.mark.parametrize(
    ("name", "keyword"),
    [
        ("currency", {"format": "iso4217"}),
        ("currency", {"pattern": r"^\w{3}$"}),
        ("amount", {"exclusiveMinimum": 0}),
        ("amount", {"type": "integer"}),
        ("amount", {"type": ["string", "number"]}),
        ("channel", {"enum": ["chip", 7]}),
        ("timestamp", {"pattern": "^[0-9]{4}$"}),
        ("timestamp", {"maxLength": 20}),
    ],
)
def test_a_rule_that_the_bulk_check_does_not_follow_is_an_error(name, keyword):
    schema = load_schema(TRANSACTIONS.schema)
    schema["properties"][name] |= keyword
    with pytest.raises(ValueError, match="does not follow"):
        rules = rules_of(schema)
        pl.select(rules[name].is_good(pl.lit("EUR")))


def test_a_rule_of_the_message_that_the_bulk_check_does_not_follow_is_an_error():
    with pytest.raises(ValueError, match="does not follow"):
        rules_of(load_schema(TRANSACTIONS.schema) | {"dependentRequired": {"latitude": ["longitude"]}})
