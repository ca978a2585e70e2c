"""CSV files of exchange rates: what is read, and that all errors of a file are named."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_core.input_files.rates import RatesFileError, read_rates

TODAY = date(2026, 1, 31)


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "rates.csv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def test_a_file_as_programs_write_it_is_read(tmp_path):
    text = (
        "\ufeffRate, Currency ,note,DATE\r\n1.0875,usd,x,2026-01-30\r\n\r\n170,392,,2026-01-31\r\n"
        "1.0875,USD,,2026-01-30\r\n"
    )
    assert read_rates(written(tmp_path, text), TODAY) == {"2026-01-30": {"USD": 1.0875}, "2026-01-31": {"JPY": 170.0}}


BAD = {
    "2026-13-01,USD,1.1": "'2026-13-01' is no date",
    "31.01.2026,USD,1.1": "'31.01.2026' is no date",
    "2026-02-01,USD,1.1": "2026-02-01 lies in the future",
    "2026-01-01,EURO,1.1": "'EURO' is no currency",
    "2026-01-01,EUR,1.1": "EUR needs no rate",
    '2026-01-01,USD,"1,1"': "'1,1' is no rate",
    "2026-01-01,USD,0": "'0' is no rate",
    "2026-01-01,USD,-1": "'-1' is no rate",
    "2026-01-01,USD,nan": "'nan' is no rate",
    "2026-01-01,USD,1e400": "'1e400' is no rate",
    "2026-01-01,USD": "'' is no rate",
    "2026-01-02,JPY,171": "JPY has another rate on 2026-01-02 in an earlier line: 170",
    ",,": "'' is no date",
}


@given(st.lists(st.sampled_from(sorted(BAD)), min_size=1))
def test_each_bad_line_is_named_with_its_number(tmp_path_factory, lines):
    folder = tmp_path_factory.mktemp("rates")
    text = "\n".join(["date,currency,rate", "2026-01-02,JPY,170", *lines, "2026-01-03,JPY,170"])
    with pytest.raises(RatesFileError) as refused:
        read_rates(written(folder, text), TODAY)
    said = str(refused.value).splitlines()
    assert len(said) == len(lines)
    for number, (line, sentence) in enumerate(zip(lines, said, strict=True), start=3):
        assert f"line {number}: " in sentence and BAD[line] in sentence


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1 names no column date, currency, rate"),
        ("date,rate\n2026-01-01,1\n", "line 1 names no column currency"),
        ("date;currency;rate\n2026-01-01;USD;1\n", "line 1 names no column date, currency, rate"),
        ("date,currency,rate\n", "holds no rate"),
        (b"\xff\xfe\x00d", "is no CSV file in UTF-8"),
    ],
)
def test_a_file_that_is_none_of_rates_is_refused_with_what_one_looks_like(tmp_path, text, says):
    with pytest.raises(RatesFileError, match=says):
        read_rates(written(tmp_path, text), TODAY)
