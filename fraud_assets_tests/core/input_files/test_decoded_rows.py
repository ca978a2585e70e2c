"""Somebody's files, whatever was done to them: each row is accepted or refused by its number."""

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_core.input_files.decoded_rows import FileReader
from fraud_core.input_files.errors import InputFileError
from fraud_core.input_files.sources import sources_of
from fraud_core.payments.reader import ReadingRules
from fraud_core.timestamps import parse_rfc3339_ms

NOW_MS = parse_rfc3339_ms("2026-06-01T00:00:00Z")
NOON_MS = parse_rfc3339_ms("2026-01-31T12:00:00Z")
HEADER = "transaction_id,user_id,merchant_id,amount,currency,timestamp"
FIELDS = dict(zip(HEADER.split(","), ["t-1", "u-1", "m-1", "10.50", "EUR", "2026-01-31T12:00:00Z"], strict=True))


def row(number: int) -> str:
    return f"t-{number},u-1,m-1,10.50,EUR,2026-01-31T12:00:00Z"


ROWS = [row(number) for number in range(1, 21)]


def read(path: object, **how: object) -> tuple[pl.DataFrame, FileReader]:
    """What is accepted; and the reader, after the books were found to balance."""
    reader = FileReader(NOW_MS, ReadingRules(0), **how)
    sources = sources_of(path)
    reader.checked(sources)
    accepted = pl.concat(part.transactions for part in reader.transactions(sources))
    assert accepted.height + reader.refused.counts.total() == reader.refused.rows
    return accepted, reader


def written(folder: Path, content: str | bytes, name: str = "a.csv") -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def ids(accepted: pl.DataFrame) -> list[str]:
    return accepted["transaction_id"].to_list()


def only_reason(reader: FileReader) -> str:
    ((example,),) = reader.refused.examples.values()
    return example


# --- CSV: quotes, lines and fields


@pytest.mark.parametrize("bad", ['"t-10,u-1,m-1,1,EUR,x', 't-10,"u-1,m-1,1,EUR,x', '"', 't-10,u-1,m-1,1,EUR,"x'])
@pytest.mark.parametrize("rows", [20, 100_000])
def test_a_quote_that_never_closes_costs_its_own_row_and_no_other(tmp_path, bad, rows):
    lines = [row(number) for number in range(1, rows + 1)]
    lines[9] = bad
    accepted, reader = read(written(tmp_path, "\n".join([HEADER, *lines])))
    assert accepted.height == rows - 1
    assert only_reason(reader).startswith("a.csv, row 11: not CSV: a quote opens here and is never closed")
    assert accepted["offset"].to_list() == [number for number in range(2, rows + 2) if number != 11]


def test_two_quotes_far_apart_do_not_swallow_the_rows_between_them(tmp_path):
    lines = [*ROWS]
    lines[3], lines[12] = '"' + lines[3], lines[12].replace(",", '",', 1)
    accepted, reader = read(written(tmp_path, "\n".join([HEADER, *lines])))
    assert accepted.height == 19
    assert only_reason(reader).startswith("a.csv, row 5")
    assert 't-13"' in ids(accepted)  # where no field begins, a quote is a character


def test_a_line_break_inside_quotes_does_not_shift_the_line_numbers(tmp_path):
    file = written(tmp_path, "\n".join([HEADER, f'"t\n1"{row(1)[3:]}', "broken", row(2), "", row(3) + ",more", row(4)]))
    accepted, reader = read(file)
    assert ids(accepted) == ["t\n1", "t-2", "t-4"]
    assert accepted["offset"].to_list() == [2, 5, 8]
    assert reader.refused.examples["number of fields"] == [
        "a.csv, row 4: number of fields: 1, but the header names 6",
        "a.csv, row 7: number of fields: 7, but the header names 6",
    ]


def test_a_row_in_quotes_over_the_edge_of_two_blocks_is_one_row(tmp_path):
    lines = [f'"t-{number}\n","u-1","m-1","10.50","EUR","2026-01-31T12:00:00Z"' for number in range(150_000)]
    accepted, reader = read(written(tmp_path, "\n".join([HEADER, *lines])))
    assert reader.refused.rows == 150_000
    assert accepted["offset"].to_list() == list(range(2, 300_002, 2))


@pytest.mark.parametrize("line", ["x" * 1_500_000, "x" * 9_000_000, '"' + "x" * 5_000_000])
@pytest.mark.parametrize("place", [0, 10, 20])
def test_a_line_that_is_too_long_is_refused_and_the_others_are_read(tmp_path, line, place):
    lines = [*ROWS[:place], line, *ROWS[place:]]
    accepted, reader = read(written(tmp_path, "\n".join([HEADER, *lines])))
    assert accepted["offset"].to_list() == [number for number in range(2, 23) if number != place + 2]
    assert only_reason(reader).startswith(f"a.csv, row {place + 2}: longer than 1048576 bytes")


CHARACTERS = st.sampled_from(['"', ",", "\n", "\r", ";", "a", " ", "ü", "\\", "''", "\t", "\0", "1"])


@st.composite
def damaged_files(draw) -> bytes:
    """Good rows, some of them with characters put in, taken out, or torn apart."""
    lines = draw(st.lists(st.sampled_from(ROWS), min_size=1, max_size=12))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        place = draw(st.integers(0, len(lines[at])))
        rest = place + draw(st.integers(0, 3))
        lines[at] = lines[at][:place] + draw(CHARACTERS) + lines[at][rest:]
    text = draw(st.sampled_from(["\n", "\r\n"])).join(lines)
    damage = draw(st.sampled_from([b"", b"\xff", b"\x81", b"\xc3"]))
    place = draw(st.integers(0, len(text)))
    return text[:place].encode() + damage + text[place:].encode()


@given(damaged_files())
def test_of_a_damaged_file_every_line_is_in_a_row_that_was_sent_or_refused(content):
    with TemporaryDirectory() as folder:
        file = written(Path(folder), HEADER.encode() + b"\n" + content)
        accepted, reader = read(file)
        lines = (HEADER.encode() + b"\n" + content).split(b"\n")[1:]
        undamaged = {number for number, line in enumerate(lines, start=2) if line.strip(b"\r") in map(str.encode, ROWS)}
        places = accepted["offset"].to_list()
        assert places == sorted(set(places))
        # A row without damage is lost only as the second line of one in quotes: at most one for each quote before it.
        assert len(undamaged - set(places)) <= content.count(b'"')
        not_blank = sum(bool(line.strip(b"\r")) for line in lines)
        assert not_blank - content.count(b'"') <= reader.refused.rows <= not_blank


# --- Encodings and compressions


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_file_is_read_in_the_encoding_and_with_the_line_ends_it_was_saved_in(tmp_path, encoding, end):
    text = end.join([HEADER, "t-1,Müller,m-1,10.50,EUR,2026-01-31T12:00:00Z", row(2), ""])
    accepted, reader = read(written(tmp_path, text.encode(encoding)))
    assert accepted["user_id"].to_list() == ["Müller", "u-1"]
    assert accepted["offset"].to_list() == [2, 3]
    recoded = {"read as windows-1252: the lines are no UTF-8": 1} if encoding == "cp1252" else {}
    assert reader.refused.notes() == recoded


def test_bytes_of_no_encoding_cost_their_row_alone(tmp_path):
    accepted, reader = read(written(tmp_path, "\n".join([HEADER, *ROWS]).encode().replace(b"t-7,", b"t-\x81,")))
    assert accepted.height == 19
    assert only_reason(reader) == "a.csv, row 8: neither UTF-8 nor windows-1252"


@pytest.mark.parametrize("codec", ["gzip", "zstd", "bz2"])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_compressed_file_is_told_by_its_content(tmp_path, codec, name):
    with pa.CompressedOutputStream(str(tmp_path / name), codec) as stream:
        stream.write("\n".join([HEADER, *ROWS]).encode())
    accepted, _ = read(tmp_path / name)
    assert accepted["offset"].to_list() == list(range(2, 22))


def test_a_compressed_file_that_is_cut_off_is_refused_as_a_whole(tmp_path):
    whole = gzip.compress("\n".join([HEADER, *(row(number) for number in range(500_000))]).encode())
    with pytest.raises(InputFileError, match=r"a\.csv cannot be read"):
        read(written(tmp_path, whole[: len(whole) // 2]))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"PAR1 cut off", "cannot be read"),
        (b"a\0b\1", "neither text nor Parquet"),
        (b"PK\x03\x04 sheet", "ZIP archive or an Excel workbook"),
        (b'{"a": 1, "b": ', "no JSON from value 1 on"),
        (b'[{"a": 1}, {"a": ,}]', "no JSON from value 2 on"),
        (b'[{"a": 1}', "the array has no end"),
        (b'[{"a": 1}] x', "something follows"),
        (b"[]", "holds no JSON object"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path, content, says):
    with pytest.raises(InputFileError, match=rf"a\.csv.*{says}"):
        read(written(tmp_path, content))


# --- Columns


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_of_the_header(tmp_path, delimiter):
    names = [f'"{name}"' for name in HEADER.split(",")] + ['"note, or not"']
    lines = [delimiter.join(names), *(line.replace(",", delimiter) + delimiter for line in ROWS)]
    accepted, _ = read(written(tmp_path, "\n".join(lines)))
    assert accepted.height == 20


def test_a_column_that_is_used_may_not_come_twice(tmp_path):
    with pytest.raises(InputFileError, match="two columns user_id"):
        read(written(tmp_path, f"{HEADER},user_id\n{row(1)},u-2"))
    accepted, _ = read(written(tmp_path, f"{HEADER},note,note\n{row(1)},a,b"))
    assert accepted.height == 1


@pytest.mark.parametrize(
    ("amount", "cents"),
    [("1.234,56", 123456), ("-12,5", -1250), ("7", 700), ("1 234,5", 123450), ("1.234", 123400), (",5", 50)],
)
def test_a_decimal_comma_is_read_where_it_is_stated(tmp_path, amount, cents):
    lines = [f"{HEADER};latitude".replace(",", ";"), f"t-1;u-1;m-1;{amount};EUR;2026-01-31T12:00:00Z;52,5"]
    file = written(tmp_path, "\n".join(lines))
    accepted, _ = read(file, decimal_comma=True)
    assert accepted.select("amount_minor", "latitude").row(0) == (cents, 52.5)


@pytest.mark.parametrize("amount", ["12.50", "1,234.56", "1.2345,6", "x", "1,2,3"])
def test_what_is_no_number_with_a_decimal_comma_is_refused_where_that_is_stated(tmp_path, amount):
    file = written(tmp_path, "\n".join([HEADER.replace(",", ";"), f"t;u;m;{amount};EUR;2026-01-31T12:00:00Z"]))
    accepted, reader = read(file, decimal_comma=True)
    assert accepted.height == 0
    assert "decimal comma" in only_reason(reader)


# --- Nothing, and damaged ids


@pytest.mark.parametrize("nothing", ["NA", "NULL", "\\N", "NaN", "--", "n/a", "None", " null "])
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_spelling_of_nothing_is_a_missing_value_and_counted_once(tmp_path, nothing, form):
    rows = [
        {**FIELDS, "transaction_id": f"t-{number}", "country": nothing, "device_id": "d", "latitude": nothing}
        for number in range(5)
    ]
    rows[4]["amount"] = "x"  # is refused, and counts all the same
    frame, file = pl.DataFrame(rows), tmp_path / "a"
    {"csv": frame.write_csv, "jsonl": frame.write_ndjson, "parquet": frame.write_parquet}[form](file)
    accepted, reader = read(file)
    assert accepted.select("country", "latitude", "device_id").rows() == [(None, None, "d")] * 4
    assert reader.refused.nothing == {("country", nothing.strip()): 5, ("latitude", nothing.strip()): 5}
    assert not reader.refused.ignored


def test_a_spelling_of_nothing_in_a_required_column_is_refused(tmp_path):
    accepted, reader = read(written(tmp_path, f"{HEADER}\nt-1,NULL,--,1,EUR,2026-01-31T12:00:00Z"))
    assert accepted.height == 0
    assert (
        only_reason(reader) == "a.csv, row 2: user_id: 'NULL' stands for nothing; merchant_id: '--' stands for nothing"
    )


@pytest.mark.parametrize(
    ("countries", "read_as"),
    [
        (["NA", "DE", ""], ["NA", "DE", None]),  # empty fields are its missing ones, so NA is a country
        (["NA", "DE", "US"], [None, "DE", "US"]),
        (["NA", "DEU", ""], [None, "DE", None]),
        (["NAM", "516", "NA"], ["NA", "NA", None]),
    ],
)
def test_na_is_namibia_in_a_column_of_two_letters_that_leaves_fields_empty(tmp_path, countries, read_as):
    lines = [f"{line},{country}" for line, country in zip(ROWS, countries, strict=False)]
    accepted, _ = read(written(tmp_path, "\n".join([f"{HEADER},country", *lines])))
    assert accepted["country"].to_list() == read_as


@pytest.mark.parametrize("damaged", ["4.0E+15", "4,00012E+15", "4E+15"])
def test_an_id_that_a_spreadsheet_damaged_is_refused_and_an_optional_one_left_out(tmp_path, damaged):
    good = f'"{damaged}"'
    lines = [f"t-1,{good},m,1,EUR,2026-01-31T12:00:00Z,d", f"t-2,u,m,1,EUR,2026-01-31T12:00:00Z,{good}"]
    accepted, reader = read(written(tmp_path, "\n".join([f"{HEADER},device_id", *lines])))
    assert accepted.select("transaction_id", "device_id").rows() == [("t-2", None)]
    assert "user_id: " in only_reason(reader)
    assert "spreadsheet" in only_reason(reader)
    assert reader.refused.ignored == {"device_id": 1}


def test_ids_keep_the_zeros_in_front_of_them(tmp_path):
    accepted, _ = read(written(tmp_path, f"{HEADER}\n000123,0042,007,1,EUR,2026-01-31T12:00:00Z"))
    assert accepted.select("transaction_id", "user_id", "merchant_id").row(0) == ("000123", "0042", "007")


# --- Times that nobody has


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00Z"])
def test_a_time_at_the_edge_of_the_calendar_is_refused_with_its_row(tmp_path, time):
    accepted, reader = read(written(tmp_path, "\n".join([HEADER, row(1), f"t,u,m,1,EUR,{time}", row(2)])))
    assert accepted.height == 2
    assert only_reason(reader).startswith("a.csv, row 3: ")


@pytest.mark.parametrize(("unit", "value"), [("ms", NOON_MS * 1000), ("s", NOON_MS), ("us", NOON_MS * 1_000_000)])
def test_times_in_another_unit_than_their_column_are_refused_with_a_guess(tmp_path, unit, value):
    names = {"ms": "microseconds", "s": "milliseconds", "us": "nanoseconds"}
    per_second = {"s": 1, "ms": 1000, "us": 1_000_000}[unit]
    times = [NOON_MS // 1000 * per_second, value, None]
    table = pa.table(
        {name: [text] * 3 for name, text in FIELDS.items() if name != "timestamp"}
        | {"timestamp": pa.array(times, pa.timestamp(unit, "UTC"))}
    )
    pq.write_table(table, tmp_path / "a.parquet", use_deprecated_int96_timestamps=False, version="2.6")
    accepted, reader = read(tmp_path / "a.parquet")
    assert accepted["event_time_ms"].to_list() == [NOON_MS]
    reasons = [example for examples in reader.refused.examples.values() for example in examples]
    written_unit = "ms" if unit == "s" else unit  # Parquet knows no seconds
    if written_unit == unit:
        assert f"it looks like {names[unit]}" in reasons[0]
    assert reasons[0].startswith("a.parquet, row 2: timestamp: ")
    assert reasons[1] == "a.parquet, row 3: timestamp: missing"


# --- JSON


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(json.dumps(FIELDS | {"transaction_id": f"t-{n}"}) for n in range(1, 4)),
        json.dumps([FIELDS | {"transaction_id": f"t-{n}"} for n in range(1, 4)]),
        json.dumps([FIELDS | {"transaction_id": f"t-{n}"} for n in range(1, 4)], indent=2),
        "\n".join(json.dumps(FIELDS | {"transaction_id": f"t-{n}"}, indent=1) for n in range(1, 4)),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_json_is_read_a_line_each_as_an_array_and_over_several_lines(tmp_path, text, encoding):
    accepted, _ = read(written(tmp_path, text.encode(encoding)))
    assert ids(accepted) == ["t-1", "t-2", "t-3"]
    assert accepted["offset"].to_list() == [1, 2, 3]


def test_a_large_array_is_read_by_parts(tmp_path):
    rows = [FIELDS | {"transaction_id": f"t-{number}", "note": "x" * 400} for number in range(30_000)]
    accepted, _ = read(written(tmp_path, json.dumps(rows)))
    assert ids(accepted) == [f"t-{number}" for number in range(30_000)]


def test_of_an_array_what_is_no_object_is_refused(tmp_path):
    accepted, reader = read(written(tmp_path, json.dumps([FIELDS, [1], "t-9", None, FIELDS])))
    assert accepted.height == 2
    assert reader.refused.counts == {"not a JSON object": 2, "user_id": 1}


def test_json_lines_with_the_nan_of_python_are_read(tmp_path):
    lines = [json.dumps(FIELDS | {"latitude": float("nan")}), json.dumps(FIELDS | {"amount": float("nan")})]
    accepted, reader = read(written(tmp_path, "\n".join(lines)))
    assert accepted["latitude"].to_list() == [None]
    assert only_reason(reader).endswith("amount: missing")


# --- Parquet


def test_parquet_of_other_writers_is_read(tmp_path):
    number = 4_000_000_000_000_000_123
    table = pa.table(
        {
            "transaction_id": pa.array([number, 2, 3], pa.int64()),
            "user_id": pa.array([b"u-1", b"u-2", b"\xff"], pa.binary()),
            "merchant_id": pa.array(["m", "m", "m"]).dictionary_encode(),
            "amount": pa.array([Decimal("10.50"), Decimal("-1.25"), Decimal("1")], pa.decimal128(38, 9)),
            "timestamp": pa.array([datetime(2026, 1, 31, 12)] * 3, pa.timestamp("ns")),
            "latitude": pa.array([1.5, np.nan, None]),
            "extra": pa.array([{"a": [1]}] * 3),
        }
    )
    folder = tmp_path / "payments" / "currency=EUR"
    folder.mkdir(parents=True)
    (tmp_path / "payments" / "_SUCCESS").touch()
    pq.write_table(table, folder / "part-0.parquet", use_deprecated_int96_timestamps=True)
    accepted, reader = read(tmp_path / "payments")
    columns = ("transaction_id", "user_id", "amount_minor", "currency", "event_time_ms", "latitude")
    assert accepted.select(columns).rows() == [
        (str(number), "u-1", 1050, "EUR", NOON_MS, 1.5),
        ("2", "u-2", -125, "EUR", NOON_MS, None),
    ]
    assert only_reason(reader) == "part-0.parquet, row 3: user_id: bytes that are no UTF-8"


def test_float_ids_beyond_what_a_float_holds_are_refused(tmp_path):
    frame = pl.DataFrame([FIELDS] * 2).with_columns(user_id=pl.Series([4711.0, 4.1e18]))
    frame.write_parquet(tmp_path / "a.parquet")
    accepted, reader = read(tmp_path / "a.parquet")
    assert accepted["user_id"].to_list() == ["4711"]
    assert "rounded number" in only_reason(reader)


def test_a_naive_time_of_a_column_is_read_in_the_stated_zone(tmp_path):
    pl.DataFrame([FIELDS | {"timestamp": datetime(2026, 1, 31, 13)}]).write_parquet(tmp_path / "a.parquet")
    _, reader = read(tmp_path / "a.parquet")
    assert "FRAUD_TIME_ZONE" in only_reason(reader)
    accepted, _ = read(tmp_path / "a.parquet")
    assert accepted.height == 0
    in_berlin = FileReader(NOW_MS, ReadingRules(0, "Europe/Berlin"))
    (part,) = in_berlin.transactions(sources_of(tmp_path / "a.parquet"))
    assert part.transactions["event_time_ms"].to_list() == [NOON_MS]


def test_typed_values_and_text_are_the_same_payments(tmp_path):
    text = pl.DataFrame([{**FIELDS, "amount": "10.50", "latitude": "52.5"}] * 3)
    typed = text.with_columns(
        pl.col("amount").cast(pl.Decimal(12, 2)),
        pl.col("latitude").cast(pl.Float32),
        pl.Series("timestamp", [datetime(2026, 1, 31, 12, tzinfo=UTC)] * 3).cast(pl.Datetime("ns", "Europe/Berlin")),
    )
    text.write_csv(tmp_path / "a.csv")
    typed.write_parquet(tmp_path / "a.parquet")
    of_text, of_typed = (read(tmp_path / name)[0].drop("offset") for name in ("a.csv", "a.parquet"))
    assert of_text.equals(of_typed)


# --- Folders, patterns and addresses


def test_files_of_a_folder_are_read_by_name_with_their_numbers_by_value(tmp_path):
    folder = tmp_path / "payments"
    folder.mkdir()
    for number in (10, 2, 1):
        written(folder, f"{HEADER}\n{row(number)}", f"p_{number}.csv")
    written(folder, "", "p_3.csv")
    written(folder, "x", "_SUCCESS")
    for path in (folder, f"{folder}/p_*.csv", f"{tmp_path}/*/p_[0-9]*", folder.as_uri()):
        if "*" in str(path):
            (folder / "p_3.csv").unlink(missing_ok=True)
        assert ids(read(path)[0]) == ["t-1", "t-2", "t-10"]


@pytest.mark.parametrize("path", ["nothing.csv", "no*.csv", "/no/such/folder"])
def test_what_is_not_there_is_named(path):
    with pytest.raises(InputFileError, match="does not exist: give a CSV, JSON or Parquet file"):
        sources_of(path)


# --- Labels


def labels_of(path: Path, label_time_ms: int | None = None) -> tuple[list[tuple], FileReader]:
    reader = FileReader(NOW_MS, ReadingRules(0), label_time_ms=label_time_ms)
    sources, _ = reader.checked_labels(sources_of(path))
    rows = pl.concat(reader.labels(sources)).rows()
    assert len(rows) + reader.refused_labels.counts.total() == reader.refused_labels.rows
    return rows, reader


@pytest.mark.parametrize("text", ["transaction_id\nt-1\nt-2\n", '["t-1", "t-2"]', "transaction_id,note\nt-1,\nt-2,a"])
def test_a_list_of_ids_is_a_list_of_frauds_that_needs_a_time(tmp_path, text):
    file = written(tmp_path, text)
    with pytest.raises(InputFileError, match="--label-time"):
        labels_of(file)
    rows, _ = labels_of(file, NOON_MS)
    assert rows == [("t-1", True, "analyst", NOON_MS), ("t-2", True, "analyst", NOON_MS)]


def test_a_list_of_ids_with_their_time_is_a_list_of_frauds(tmp_path):
    rows, _ = labels_of(written(tmp_path, "transaction_id,label_time\nt-1,2026-01-31T12:00:00Z"))
    assert rows == [("t-1", True, "analyst", NOON_MS)]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_map_of_ids_to_labels_is_a_label_each(tmp_path, indent):
    rows, _ = labels_of(written(tmp_path, json.dumps({"t-1": 1, "t-2": False}, indent=indent), "l.json"))
    assert rows == [("t-1", True, "analyst", None), ("t-2", False, "analyst", None)]


def test_labels_inside_the_payments_are_those_of_accepted_rows(tmp_path):
    lines = [f"{row(1)},1", f"{row(2)},", f"{row(3)},perhaps", f"{row(4)},0", "t-5,u,m,x,EUR,2026-01-31T12:00:00Z,1"]
    reader = FileReader(NOW_MS, ReadingRules(0), labels_inside=True)
    (part,) = reader.transactions(sources_of(written(tmp_path, "\n".join([f"{HEADER},is_fraud", *lines]))))
    assert part.labels.select("transaction_id", "is_fraud").rows() == [("t-1", True), ("t-4", False)]
    assert part.transactions.height == 4
    assert reader.refused_labels.counts == {"is_fraud": 1}


# --- Refused rows, given back


def test_refused_rows_are_accepted_back_when_they_are_corrected_and_name_their_origin(tmp_path):
    file = written(tmp_path, "\n".join([HEADER, row(1), row(2).replace("EUR", "euro"), "broken", row(4)[:-1]]))
    reader = FileReader(NOW_MS, ReadingRules(0))
    with (tmp_path / "refused.jsonl").open("w") as reader.refused.file:
        list(reader.transactions(sources_of(file)))
    lines = (tmp_path / "refused.jsonl").read_text().splitlines()
    records = sorted(map(json.loads, lines), key=lambda record: record["row"])
    assert [(record["row"], record["values"] is None) for record in records] == [(3, False), (4, True), (5, False)]
    assert records[1]["text"] == "broken"
    records[0]["values"]["currency"] = "EUR"
    back = written(tmp_path, "\n".join(map(json.dumps, records)), "refused.jsonl")
    accepted, again = read(back)
    assert ids(accepted) == ["t-2"]
    assert again.refused.examples["no values"][0].startswith(f"refused.jsonl, row 2 ({file}, row 4): no values")
    assert again.refused.examples["time without a zone"][0].startswith(f"refused.jsonl, row 3 ({file}, row 5): ")
