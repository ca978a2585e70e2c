"""Files for a backtest: everything is used, refused with a reason, or counted; nothing disappears."""

from pathlib import Path

import polars as pl
import pytest

from fraud_core.backtest.load import Loaded, load
from fraud_core.input_files.decoded_rows import FileReader
from fraud_core.input_files.errors import InputFileError
from fraud_core.input_files.sources import sources_of
from fraud_core.labels.known import LABEL_COLUMNS
from fraud_core.payments.mapping_file import mapping_text
from fraud_core.payments.reader import ReadingRules
from fraud_core.payments.transaction import COLUMNS
from fraud_core.simulation.simulator import Simulator
from fraud_core.timestamps import DAY_MS, parse_rfc3339_ms

HEADER = "transaction_id,user_id,merchant_id,amount,currency,timestamp"
NOW_MS = parse_rfc3339_ms("2026-06-01T00:00:00Z")
ROWS = (
    "t2,u1,m1,20.00,EUR,2026-02-01T12:00:00Z",
    "t1,u1,m1,10.00,EUR,2026-01-31T12:00:00Z",
    "t3,u2,m1,30.00,EUR,2026-02-02T12:00:00+01:00",
)
NOON_MS = parse_rfc3339_ms("2026-01-31T12:00:00Z")


def loaded(folder: Path, rows: tuple[str, ...] = ROWS, labels: tuple[str, ...] = ("t1,1,",)) -> Loaded:
    (folder / "t.csv").write_text("\n".join([HEADER, *rows]))
    (folder / "l.csv").write_text("\n".join(["transaction_id,is_fraud,label_time", *labels]))
    return load_files(folder / "t.csv", folder / "l.csv")


def load_files(transactions: Path, labels: Path) -> Loaded:
    reader = FileReader(NOW_MS, ReadingRules(0))
    return load(sources_of(transactions), sources_of(labels), reader, label_delay_days=7)


def test_rows_arrive_in_the_order_of_their_event_times_with_the_dtypes_of_the_stream(tmp_path):
    result = loaded(tmp_path)
    assert dict(result.transactions.schema) == COLUMNS
    assert dict(result.labels.schema) == LABEL_COLUMNS
    assert result.transactions["transaction_id"].to_list() == ["t1", "t2", "t3"]
    assert result.transactions["offset"].to_list() == [0, 1, 2]
    assert result.transactions["amount_minor"].to_list() == [1000, 2000, 3000]
    assert result.transactions["ingest_time_ms"].equals(result.transactions["event_time_ms"], check_names=False)
    assert result.warnings == {}
    assert result.columns_used == ()


def test_the_three_formats_and_a_folder_of_them_give_the_same_columns(tmp_path):
    expected = loaded(tmp_path).transactions
    frame = pl.read_csv(tmp_path / "t.csv")
    folder = tmp_path / "parts"
    folder.mkdir()
    frame[:1].write_ndjson(folder / "a.jsonl")
    frame[1:2].write_parquet(folder / "b.parquet")
    frame[2:].write_csv(folder / "c.csv")
    again = load_files(folder, tmp_path / "l.csv")
    assert again.transactions.equals(expected)


def test_payments_in_the_columns_of_a_preset_are_the_same_payments_with_the_same_labels(tmp_path):
    day = Simulator(3000, seed=1).day(parse_rfc3339_ms("2026-01-31T00:00:00Z") // DAY_MS)
    texts = pl.from_epoch("event_time_ms", "ms").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    ours = day.transactions.filter(pl.col("amount_minor") > 0).select(
        "transaction_id", "user_id", "merchant_id", amount=pl.col("amount_minor") / 100, currency=pl.lit("USD"),
        timestamp=texts, is_fraud=pl.Series(day.is_fraud).filter(day.transactions["amount_minor"] > 0).cast(int),
    )  # fmt: skip
    names = ("TRANSACTION_ID", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "currency", "TX_DATETIME", "TX_FRAUD")
    theirs = ours.rename(dict(zip(ours.columns, names, strict=True))).drop("currency")
    theirs = theirs.with_columns(pl.col("TX_DATETIME").str.replace("T", " ").str.strip_suffix("Z"))
    ours.write_csv(tmp_path / "ours.csv")
    theirs.write_csv(tmp_path / "theirs.csv")
    found = [
        load(
            sources_of(tmp_path / f"{name}.csv"),
            [],
            FileReader(NOW_MS, ReadingRules(0, mapping=mapping), labels_inside=True),
            label_delay_days=7,
        )
        for name, mapping in (("ours", None), ("theirs", mapping_text("handbook")))
    ]
    assert found[0].transactions.height > 500
    assert found[0].labels["is_fraud"].any()
    assert found[1].transactions.equals(found[0].transactions)
    assert found[1].labels.equals(found[0].labels)
    assert found[0].warnings == found[1].warnings == {}


@pytest.mark.parametrize(
    ("row", "warning"),
    [
        (
            "t4,u1,m1,five,EUR,2026-02-01T12:00:00Z",
            "transactions refused, amount (such as t.csv, row 5: amount: 'five'",
        ),
        ("t4,u1,m1,1e12,EUR,2026-02-01T12:00:00Z", "transactions refused, amount (such as t.csv, row 5: amount: 1000"),
        ("t4,u1,m1,5,EUR,2026-02-01T12:00:00", "transactions refused, time without a zone (such as t.csv, row 5"),
        ("t4,u1,m1,5,EUR,2026-06-01T00:00:01Z", "transactions refused, timestamp in the future (such as t.csv, row 5"),
        ("t4,u1", "transactions refused, number of fields (such as t.csv, row 5: number of fields: 2, but"),
        (ROWS[0], "transactions given again under the same transaction_id with the same content"),
        (ROWS[0].replace("20.00", "21.00"), "transactions under the transaction_id of another one, with other content"),
    ],
)
def test_a_row_that_is_not_used_is_counted_and_the_others_are_kept(tmp_path, row, warning):
    result = loaded(tmp_path, (*ROWS, row, row))
    assert [(text[: len(warning)], count) for text, count in result.warnings.items()] == [(warning, 2)]
    assert result.transactions["transaction_id"].to_list() == ["t1", "t2", "t3"]
    assert result.transactions["amount_minor"].to_list() == [1000, 2000, 3000]


def test_a_label_without_a_time_is_known_a_label_delay_after_its_transaction(tmp_path):
    labels = loaded(tmp_path, labels=("t1,1,", "t2,0,2026-02-03T00:00:00Z")).labels
    times = dict(labels.select("transaction_id", "label_time_ms").iter_rows())
    assert times == {"t1": NOON_MS + 7 * DAY_MS, "t2": parse_rfc3339_ms("2026-02-03T00:00:00Z")}


@pytest.mark.parametrize(
    ("labels", "warning", "kept"),
    [
        (("t1,1,", "t9,1,"), "labels of transactions that are not in the files: left out", 1),
        (("t1,1,", "t1,0,", "t2,1,", "t2,1,"), "transactions with labels that contradict each other", 4),
        (("t1,1,2026-01-01T00:00:00Z",), "labels from before their transaction", 1),
        (("t1,1,", "t2,perhaps,"), "labels refused, is_fraud (such as l.csv, row 3: is_fraud:", 1),
        (("t1,1,", "t2,1,2026-02-03T00:00:00"), "labels refused, time without a zone (such as l.csv, row 3", 1),
    ],
)
def test_a_doubtful_label_is_counted(tmp_path, labels, warning, kept):
    result = loaded(tmp_path, labels=labels)
    assert [(text[: len(warning)], count) for text, count in result.warnings.items()] == [(warning, 1)]
    assert result.labels.height == kept


def test_optional_columns_of_the_files_are_named(tmp_path):
    (tmp_path / "t.csv").write_text(f"{HEADER},country,extra\n{ROWS[0]},DE,1\n")
    (tmp_path / "l.csv").write_text("transaction_id,is_fraud\nt2,0\n")
    result = load_files(tmp_path / "t.csv", tmp_path / "l.csv")
    assert result.columns_used == ("country",)
    assert result.transactions["country"].to_list() == ["DE"]


@pytest.mark.parametrize(
    ("rows", "labels", "says"),
    [
        ((), ("t1,1,",), "hold no transaction that can be used"),
        (("t1,u1,m1,x,EUR,2026-01-31T12:00:00Z",), ("t1,1,",), "t.csv, row 2: amount: 'x'"),
        (ROWS, (), "hold no label that can be used"),
    ],
)
def test_files_without_a_usable_row_are_refused(tmp_path, rows, labels, says):
    with pytest.raises(InputFileError, match=says):
        loaded(tmp_path, rows, labels)


def test_a_file_that_lacks_a_column_is_refused_with_the_columns_it_has(tmp_path):
    loaded(tmp_path)
    with pytest.raises(InputFileError, match="lacks the columns user_id, merchant_id, amount, currency, timestamp; it"):
        load_files(tmp_path / "l.csv", tmp_path / "l.csv")


def test_labels_inside_the_payments_are_those_of_their_column(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("\n".join([f"{HEADER},is_fraud", f"{ROWS[0]},1", f"{ROWS[1]},0", f"{ROWS[2]},"]))
    reader = FileReader(NOW_MS, ReadingRules(0), labels_inside=True)
    result = load(sources_of(file), [], reader, label_delay_days=7)
    assert dict(result.labels.select("transaction_id", "is_fraud").iter_rows()) == {"t2": True, "t1": False}
    assert result.transactions.height == 3


def test_labels_of_which_none_is_of_a_payment_are_refused_with_what_would_make_them_match(tmp_path):
    with pytest.raises(InputFileError, match=r"2 of them would be without the zeros .* \(label '1', payment '0001'\)"):
        loaded(
            tmp_path, ("0001,u1,m1,1,EUR,2026-02-01T12:00:00Z", "02,u1,m1,1,EUR,2026-02-01T12:00:00Z"), ("1,1,", "2,1,")
        )
