"""Files in other columns: the same payments and labels as in ours; every row is sent, refused or left out."""

import json
from pathlib import Path

import polars as pl
import pytest

from fraud_assets_tests.core.payments.test_mapping import FITTING, PUBLISHED
from fraud_core.input_files.decoded_rows import FileReader
from fraud_core.input_files.errors import InputFileError
from fraud_core.input_files.sources import sources_of
from fraud_core.payments.mapping_file import mapping_text
from fraud_core.payments.reader import ReadingRules
from fraud_core.timestamps import parse_rfc3339_ms

NOW_MS = parse_rfc3339_ms("2027-01-01T00:00:00Z")


def reader(mapping: str, **how: object) -> FileReader:
    return FileReader(NOW_MS, ReadingRules(0, mapping=mapping), **how)


def read(reader: FileReader, *paths: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Payments and the labels inside, after the books were found to balance."""
    sources = sources_of(paths)
    reader.checked(sources)
    accepted = list(reader.transactions(sources))
    payments = pl.concat(part.transactions for part in accepted)
    labels = pl.concat(part.labels for part in accepted)
    refused = reader.refused
    assert payments.height + refused.counts.total() + refused.left_out + refused.labels == refused.rows
    return payments, labels


def written(file: Path, *rows: dict) -> Path:
    if file.suffix == ".csv":
        pl.DataFrame(rows, infer_schema_length=None).write_csv(file)
    elif file.suffix == ".parquet":
        pl.DataFrame(rows, infer_schema_length=None).write_parquet(file)
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.parametrize("name", [name for name in FITTING if name != "debezium"])
@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_preset_reads_files_of_its_data(tmp_path, name, kind):
    record, expected = PUBLISHED[name]
    if kind != "jsonl" and any(isinstance(value, dict) for value in record.values()):
        pytest.skip("objects in objects are JSON's")
    payments, _ = read(reader(mapping_text(name)), written(tmp_path / f"a.{kind}", record))
    row_number = {"transaction_id"} if "row_number" in mapping_text(name) else set()
    (found,) = payments.to_dicts()
    assert {field: found[field] for field in expected if field not in row_number} == {
        field: value for field, value in expected.items() if field not in row_number
    }


def test_row_numbers_of_several_files_are_different_ids(tmp_path):
    record, _ = PUBLISHED["paysim"]
    files = [written(tmp_path / f"{number}.csv", record, record) for number in range(3)]
    payments, labels = read(reader(mapping_text("paysim"), labels_inside=True), *files)
    assert payments["transaction_id"].n_unique() == 6
    assert labels["transaction_id"].to_list() == payments["transaction_id"].to_list()
    assert labels["is_fraud"].all()


def test_labels_stand_in_the_rows_of_payments_or_in_rows_of_their_own(tmp_path):
    settled, _ = PUBLISHED["adyen"]
    rows = [
        settled | {"Type": "Settled", "Psp Reference": "A", "Gross Credit (GC)": "5.00", "Gross Debit (GC)": ""},
        settled | {"Type": "Settled", "Psp Reference": "B", "Gross Credit (GC)": "6.00", "Gross Debit (GC)": ""},
        settled | {"Type": "Chargeback", "Psp Reference": "A", "Creation Date": "2013-07-01 00:00:00"},
        settled | {"Type": "Fee", "Psp Reference": ""},
    ]
    chosen = reader(mapping_text("adyen"), labels_inside=True)
    payments, labels = read(chosen, written(tmp_path / "a.csv", *rows))
    assert payments["transaction_id"].to_list() == ["A-Settled", "B-Settled"]
    assert payments["amount_minor"].to_list() == [500, 600]
    assert labels.rows() == [("A-Settled", True, "chargeback", parse_rfc3339_ms("2013-06-30T22:00:00Z"))]
    assert (chosen.refused.left_out, chosen.refused.labels) == (1, 1)


def test_disputes_of_a_file_of_their_own_name_their_charges_and_only_fraud_is_one(tmp_path):
    disputes = [
        {"id": "dp_1", "charge": "ch_1", "reason": "fraudulent", "created": 1769860800},
        {"id": "dp_2", "charge": "ch_1", "reason": "fraudulent", "created": 1769860900},
        {"id": "dp_3", "charge": "ch_2", "reason": "product_not_received", "created": 1769860900},
    ]
    chosen = reader(mapping_text("stripe"))
    sources, unused = chosen.checked_labels(sources_of(written(tmp_path / "a.jsonl", *disputes)))
    labels = pl.concat(chosen.labels(sources))
    assert unused == ["id"]
    assert labels["transaction_id"].to_list() == ["ch_1", "ch_1"]
    assert chosen.refused_labels.left_out == 1


def test_lines_before_the_header_and_files_without_one(tmp_path):
    rules = 'transaction_id = { from = 1 }\nuser_id = { from = 2 }\nmerchant_id = { constant = "m" }\n'
    rules += 'amount = { from = 3, sign = "reverse" }\ncurrency = { constant = "GBP" }\n'
    rules += 'timestamp = { from = 4, format = "%d/%m/%Y %H:%M", zone = "Europe/London" }\n'
    file = tmp_path / "statement.csv"
    file.write_text(
        "Account 12-34-56\nPrinted today\n\na,card,-£1.50,01/07/2026 13:00\nb,card,+£2.00,01/07/2026 13:05\n"
    )
    shape = "[file]\nheader = false\nskip_lines = 2\n"
    payments, _ = read(reader(f'description = "x"\n{shape}\n[payment]\n{rules}'), file)
    assert payments.select("transaction_id", "amount_minor").rows() == [("a", 150), ("b", -200)]
    assert payments["event_time_ms"][0] == parse_rfc3339_ms("2026-07-01T12:00:00Z")


def test_a_bad_row_is_refused_by_its_line_and_given_back_after_correction(tmp_path):
    record, _ = PUBLISHED["sparkov"]
    bad = record | {"trans_num": "00bb22", "amt": "many"}
    refused = tmp_path / "refused.jsonl"
    chosen = reader(mapping_text("sparkov"))
    with refused.open("w") as chosen.refused.file:
        payments, _ = read(chosen, written(tmp_path / "a.csv", record, bad))
    assert payments["transaction_id"].to_list() == ["00aa11"]
    (line,) = refused.read_text().splitlines()
    assert json.loads(line)["row"] == 3
    assert "many" in json.loads(line)["reason"]
    refused.write_text(line.replace('"many"', '"7.50"'))
    again, _ = read(reader(mapping_text("sparkov")), refused)
    assert again.select("transaction_id", "amount_minor").rows() == [("00bb22", 750)]


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ('description = "x"\n[payment]\nuser_id = { from = "a" }', "no rule for transaction_id, merchant_id"),
        (mapping_text("paysim"), "lacks the column nameDest, which the mapping reads user_id from; it has step"),
    ],
)
def test_a_file_without_what_the_mapping_needs_is_named_before_anything_is_read(tmp_path, mapping, says):
    with pytest.raises(InputFileError, match=says):
        read(reader(mapping), written(tmp_path / "a.csv", {"step": 1, "amount": 2, "type": "PAYMENT"}))
