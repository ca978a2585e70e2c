"""Somebody's CSV, JSON Lines or Parquet file: read by what is in it, row by row."""

from datetime import UTC, datetime
from decimal import Decimal

import orjson
import polars as pl
import pytest

from fraud_core.input_files.errors import InputFileError
from fraud_core.input_files.messages import transaction_message
from fraud_core.input_files.paths import columns_of, input_files, rows_of
from fraud_core.payments.reader import ReadingRules
from fraud_core.payments.transaction import decode_transactions
from fraud_core.timestamps import parse_rfc3339_ms

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


def test_typed_values_are_read_as_the_messages_of_the_topic_are_and_other_columns_stay_behind():
    row = {
        **ROW,
        "transaction_id": 17,
        "amount": Decimal("10.50"),
        "timestamp": datetime(2026, 1, 31, 12, tzinfo=UTC),
        "latitude": "50.5",
        "is_fraud": 1,
    }
    message = transaction_message(row)
    assert orjson.loads(message).keys() == row.keys() - {"is_fraud"}
    noon_ms = parse_rfc3339_ms("2026-01-31T12:00:00Z")
    decoded = decode_transactions([message], [0], [0], [noon_ms], ReadingRules(0))
    (kept,) = decoded.transactions.to_dicts()
    names = ("transaction_id", "amount_minor", "event_time_ms", "latitude")
    assert [kept[name] for name in names] == ["17", 1050, noon_ms, 50.5]
    assert decoded.ignored == {}


def test_a_naive_time_of_a_column_is_read_in_the_stated_zone():
    message = transaction_message(ROW | {"timestamp": datetime(2026, 1, 31, 13)})
    noon_ms = parse_rfc3339_ms("2026-01-31T12:00:00Z")
    (refusal,) = decode_transactions([message], [0], [0], [noon_ms], ReadingRules(0)).refusals
    assert "FRAUD_TIME_ZONE" in refusal.reason
    decoded = decode_transactions([message], [0], [0], [noon_ms], ReadingRules(0, "Europe/Berlin"))
    assert decoded.transactions["event_time_ms"].to_list() == [noon_ms]


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "is empty"), (b"[{}]", "one object a line"), (b"PAR1 cut off", "cannot be read"), (b"a\0b", "neither text")],
)
def test_a_file_that_is_none_of_the_three_is_named(tmp_path, content, says):
    file = tmp_path / "a.csv"
    file.write_bytes(content)
    with pytest.raises(InputFileError, match=says):
        columns_of(file)
