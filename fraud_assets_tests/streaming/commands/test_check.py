"""``./run check``: what it says of files, and that nothing of them is sent or lost."""

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from fraud_core.input_files.errors import InputFileError
from fraud_core.simulation.simulator import Simulator
from streaming.commands.check import app

FIRST_DAY = 20_454  # 2026-01-01
HEADERS = {
    "sparkov": ",trans_date_trans_time,cc_num,merchant,category,amt,first,last,gender,street,city,state,zip,lat,long,"
    "city_pop,job,dob,trans_num,unix_time,merch_lat,merch_long,is_fraud\n0,2019-03-02 08:15:00,4000000000000002,"
    '"fraud_One, Two and Three",misc_net,12.34,A,B,F,1 St,C,NC,28600,36.1,-81.2,3000,J,1980-01-01,00aa11,1330676100,'
    "36.0,-82.0,0\n",
    "tabformer": "User,Card,Year,Month,Day,Time,Amount,Use Chip,Merchant Name,Merchant City,Merchant State,Zip,MCC,"
    "Errors?,Is Fraud?\n0,0,2012,3,4,07:30,$45.60,Swipe Transaction,3000000000000000001,Somewhere,CA,91000.0,5300,,"
    "No\n",
    "banksim": "step,customer,age,gender,zipcodeOri,merchant,zipMerchant,category,amount,fraud\n"
    "0,'C1000000001','4','M','28000','M100000001','28000','es_transportation',7.80,0\n",
    "paysim": "step,type,amount,nameOrig,oldbalanceOrg,newbalanceOrig,nameDest,oldbalanceDest,newbalanceDest,isFraud,"
    "isFlaggedFraud\n1,TRANSFER,250.0,C1000000001,250.0,0.0,C2000000001,0.0,0.0,1,0\n",
    "ibm-aml": "Timestamp,From Bank,Account,To Bank,Account,Amount Received,Receiving Currency,Amount Paid,Payment "
    "Currency,Payment Format,Is Laundering\n2022/09/01 00:30,010,8000AAAA0,010,8000BBBB0,5.20,US Dollar,5.20,US Dollar,"
    "Cheque,0\n",
    "ieee-cis": "TransactionID,isFraud,TransactionDT,TransactionAmt,ProductCD,card1,card2,card3,card4,card5,card6,"
    "addr1,addr2,dist1,dist2,P_emaildomain,R_emaildomain,D1\n2900001,0,86500,40.25,W,13000,,150,discover,142,credit,300,87,19,"
    ",,,14\n",
    "handbook": "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_TIME_SECONDS,TX_TIME_DAYS,TX_FRAUD,"
    "TX_FRAUD_SCENARIO\n0,2018-04-01 00:01:40,500,3000,20.50,100,0,0,0\n",
}


def check(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(one) for one in arguments], standalone_mode=False, catch_exceptions=False)
    return result.return_value, result.output


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """49 days in the handbook's columns, those of February without a known fraud, one row of them bad."""
    simulator = Simulator(150, seed=1)
    days = [simulator.day(FIRST_DAY + day) for day in range(49)]
    rows = pl.concat(day.transactions.with_columns(TX_FRAUD=pl.Series(day.is_fraud)) for day in days)
    time = pl.from_epoch("event_time_ms", "ms")
    file = tmp_path_factory.mktemp("check") / "tx.csv"
    rows.select(
        TRANSACTION_ID="transaction_id",
        TX_DATETIME=time.dt.strftime("%Y-%m-%d %H:%M:%S"),
        CUSTOMER_ID="user_id",
        TERMINAL_ID="merchant_id",
        TX_AMOUNT=pl.when(pl.int_range(pl.len()) == 5).then(pl.lit("many")).otherwise(pl.col("amount_minor") / 100),
        TX_FRAUD=(pl.col("TX_FRAUD") & (time.dt.month() == 1)).cast(int),
    ).write_csv(file)
    return file


def test_a_known_form_is_recognised_and_all_that_matters_is_said(simulated):
    status, said = check(simulated)
    rows = pl.read_csv(simulated, infer_schema=False).height
    assert status == 1
    assert "columns of the preset handbook" in said
    assert f"{rows - 1:,} payments from 2026-01-01 to 2026-02-18, in the order of their times" in said
    assert "150 cards" in said
    assert f"currencies: USD {rows - 1:,}" in said
    assert "1 refused, amount" in said
    assert "tx.csv, row 7: amount: 'many' is no amount" in said
    assert "no fraud is known in 2026-02: where the labels were silent, fraud counts as genuine" in said
    assert f"./run replay {simulated} --map handbook --labels-inside" in said
    assert (
        f"./run backtest --transactions {simulated} --map handbook --labels-inside --train-end 2026-02-05 "
        "--test-start 2026-02-12 --test-days 7"
    ) in said


@pytest.mark.parametrize("preset", HEADERS)
def test_the_published_headers_are_recognised(tmp_path, preset):
    file = tmp_path / "a.csv"
    file.write_text(HEADERS[preset])
    status, said = check(file)
    assert status == 0
    assert f"columns of the preset {preset}" in said
    assert "1 payments from" in said
    assert "there is hardly a history to learn from" in said


def test_data_without_cards_is_refused_with_the_reason(tmp_path):
    file = tmp_path / "creditcard.csv"
    names = ["Time", *(f"V{number}" for number in range(1, 29)), "Amount", "Class"]
    file.write_text(",".join(names) + "\n" + ",".join(["0"] * len(names)) + "\n")
    with pytest.raises(InputFileError, match="neither card nor merchant"):
        check(file)


def test_other_columns_are_named_with_the_nearest_and_a_mapping_to_begin_with(tmp_path):
    file, draft = tmp_path / "a.csv", tmp_path / "mapping.toml"
    file.write_text("txn_id,card_id,shop,value,created_at\n1,c,s,5.00,2026-01-31T12:00:00Z\n")
    with pytest.raises(InputFileError, match=r"transaction_id \(is it txn_id\?\), user_id \(is it card_id\?\)"):
        check(file, "--write", draft)
    status, said = check(file, "--map", draft)
    assert status == 0
    assert "currencies: EUR 1" in said
    assert "a backtest needs labels" in said
    assert f"./run replay {file} --map {draft}" in said


def test_labels_of_other_spelling_are_not_matched_and_what_would_match_is_said(tmp_path):
    payments, labels = tmp_path / "p.csv", tmp_path / "l.csv"
    payments.write_text(
        "transaction_id,user_id,merchant_id,amount,currency,timestamp\n000123,u,m,5,EUR,2026-01-31T12:00:00Z\n"
    )
    labels.write_text("transaction_id,is_fraud\n123,1\n")
    _, said = check(payments, "--labels", labels)
    assert "0 labelled ids are of these payments, 1 are not: 1 of them would be without the zeros" in said
    assert "no fraud is known at all" in said
    assert "a backtest needs 42 days of payments: these are 1" in said
