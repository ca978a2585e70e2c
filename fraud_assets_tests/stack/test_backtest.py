"""``./run backtest`` from files to files."""

import json
from dataclasses import replace
from datetime import date

import polars as pl
import pytest

from fraud_core.settings import Settings
from fraud_core.simulation.simulator import Simulator
from fraud_core.timestamps import HOUR_MS, format_rfc3339_ms, iso_date_ms
from fraud_io.errors import OperatorError
from fraud_stack.backtest import BacktestOptions, exchange_rates, run_and_report

FIRST_DAY = 20_454  # 2026-01-01
BAD = {
    "transaction_id": "bad",
    "user_id": "u",
    "merchant_id": "m",
    "amount": -1e10,
    "currency": "EUR",
    "timestamp": "x",
}


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> BacktestOptions:
    """Files of 52 simulated days with the six required columns and undated labels, one row of them bad."""
    folder, simulator = tmp_path_factory.mktemp("backtest"), Simulator(400, seed=1)
    days = [simulator.day(FIRST_DAY + day) for day in range(52)]
    transactions = pl.concat(day.transactions for day in days)
    times = [format_rfc3339_ms(time_ms) for time_ms in transactions["event_time_ms"]]
    six = transactions.select(
        "transaction_id",
        "user_id",
        "merchant_id",
        pl.col("amount_minor") / 100,
        "currency",
        timestamp=pl.Series(times),
    ).rename({"amount_minor": "amount"})
    number = pl.int_range(pl.len())
    six = six.with_columns(
        currency=pl.when(number % 50 == 0)
        .then(pl.lit("XTS"))
        .when(number % 10 == 1)
        .then(pl.lit("USD"))
        .otherwise("currency")
    )
    pl.concat([six, pl.DataFrame([BAD])]).write_csv(folder / "transactions.csv")
    frauds = pl.concat(pl.Series(day.is_fraud) for day in days)
    transactions.select("transaction_id", is_fraud=frauds).write_csv(folder / "labels.csv")
    return BacktestOptions(
        transactions=str(folder / "transactions.csv"),
        labels=str(folder / "labels.csv"),
        train_end=date(2026, 2, 11),
        test_start=date(2026, 2, 18),
        test_days=3,
        train_days=None,
        label_delay=7,
        folds=1,
        step=7,
        exclude_known_compromised=True,
        search=1,
        out=folder / "out",
    )


def test_predictions_and_reports_are_written_and_the_bad_row_is_named(options, capsys):
    run_and_report(options)
    predictions = pl.read_parquet(options.out / "predictions.parquet")
    assert predictions.columns == ["transaction_id", "score", "prediction", "threshold", "fold"]
    assert predictions["prediction"].equals(
        (predictions["score"] >= predictions["threshold"]).cast(pl.Int8), check_names=False
    )
    transactions = pl.read_csv(options.transactions)
    dates = predictions.join(transactions, on="transaction_id", how="left")["timestamp"].str.slice(0, 10)
    assert sorted(dates.unique()) == ["2026-02-18", "2026-02-19", "2026-02-20"]
    assert (options.out / "report.json").exists()
    assert (options.out / "report.html").exists()
    printed = capsys.readouterr().out
    assert "1 transactions refused, amount (such as transactions.csv, row" in printed
    assert "2026-02-18 to 2026-02-21" in printed
    assert " XTS have no rate into EUR: give one with --rates" in printed
    content = json.loads((options.out / "report.json").read_text())["data"]
    found = {row["currency"]: (row["converted"] > 0, row["not_converted"] > 0) for row in content["currencies"]}
    assert (content["currency"], found) == ("EUR", {"EUR": (True, False), "USD": (True, False), "XTS": (False, True)})
    assert "Worth, EUR" in (options.out / "report.html").read_text()


def test_rates_of_a_file_count_for_their_own_days_beside_those_of_the_ecb(options, tmp_path):
    file = tmp_path / "rates.csv"
    file.write_text("date,currency,rate\n2026-01-05,XTS,4\n2026-01-05,USD,2\n")
    rates = exchange_rates(replace(options, rates=file), Settings(currency="USD"))
    noon_ms = iso_date_ms("2026-01-06") + 12 * HOUR_MS
    rows = pl.DataFrame({"currency": ["XTS", "EUR"], "amount_minor": [400, 100], "event_time_ms": [noon_ms] * 2})
    assert rates.convert(rows).value_minor.to_list() == [200, 200]
    file.write_text("date,currency,rate\n2026-01-05,XTS,-4\n")
    with pytest.raises(OperatorError, match=r"line 2: '-4' is no rate"):
        run_and_report(replace(options, rates=file, out=tmp_path / "out"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"transactions": "nothing.csv"}, "nothing.csv does not exist: give a CSV, JSON or Parquet file"),
        ({"train_end": date(2026, 2, 12)}, "training may end on 2026-02-11 at the latest, not on 2026-02-12"),
        (
            {"test_days": 30},
            r"the test period 2026-02-18 to 2026-03-20 \(end exclusive\) is not in the data, which cover",
        ),
        ({"labels": None}, "give either --labels or --labels-inside"),
        ({"labels_inside": True}, "give either --labels or --labels-inside"),
        ({"label_time": "soon"}, "'soon' is no time"),
        ({"train_days": 20}, "2026-01-22 to 2026-01-27 is too short for 3 folds"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence_and_nothing_is_left_behind(options, tmp_path, changes, says):
    with pytest.raises(OperatorError, match=says):
        run_and_report(replace(options, out=tmp_path / "out", **changes))
    assert not list(tmp_path.glob("out/*"))
