"""Somebody's CSV, JSON Lines or Parquet file: read by what is in it, row by row."""

from datetime import UTC, datetime
from decimal import Decimal

import orjson
import polars as pl
import pytest

from fraud_core.input_files.errors import InputFileError
from fraud_core.input_files.messages import transaction_message
from fraud_core.input_files.paths import columns_of, input_files, rows_of

HEADER = "transaction_id,user_id,merchant_id,amount,currency,timestamp"
GOOD = "t-1,u-1,m-1,10.50,EUR,2026-01-31T12:00:00Z"
ROW = {
    "transaction_id": "t-1",
    "user_id": "u-1",
    "merchant_id": "m-1",
    "amount": 10.5,
    "currency": "EUR",
    "timestamp": "2026-01-31T12:00:00.000Z",
}


def test_the_format_is_told_by_the_content_and_not_by_the_name(tmp_path):
    pl.DataFrame([ROW]).write_ndjson(tmp_path / "a.csv")
    pl.DataFrame([ROW]).write_parquet(tmp_path / "b.csv")
    for file in input_files(tmp_path):
        assert columns_of(file) == list(ROW)
        assert [row for _, row in rows_of(file)] == [ROW]


def test_a_line_break_inside_quotes_does_not_shift_the_line_numbers(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("\n".join([HEADER, f'"t\n1"{GOOD[3:]}', "broken", GOOD]))
    assert [(number, isinstance(row, dict)) for number, row in rows_of(file)] == [(2, True), (4, False), (5, True)]


def test_typed_values_become_what_the_schema_asks_for_and_other_columns_stay_behind():
    row = {
        **ROW,
        "transaction_id": 17,
        "amount": Decimal("10.50"),
        "timestamp": datetime(2026, 1, 31, 12, tzinfo=UTC),
        "latitude": "50.5",
        "is_fraud": 1,
    }
    assert orjson.loads(transaction_message(row)) == {**ROW, "transaction_id": "17", "latitude": 50.5}


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "is empty"), (b"[{}]", "one object a line"), (b"PAR1 cut off", "cannot be read"), (b"a\0b", "neither text")],
)
def test_a_file_that_is_none_of_the_three_is_named(tmp_path, content, says):
    file = tmp_path / "a.csv"
    file.write_bytes(content)
    with pytest.raises(InputFileError, match=says):
        columns_of(file)
