"""What was served comes back as a table, to the bit."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from fraud_assets_tests.core.streams import RATES, streams
from fraud_core.decisions.prediction import Anomaly, Decisions, Scored, encode_predictions
from fraud_core.decisions.prediction_table import PREDICTION_COLUMNS, decode_predictions
from fraud_core.features.table import FEATURES
from fraud_core.payments.transaction import COLUMNS

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(streams(max_size=4), st.data())
def test_the_table_holds_what_was_encoded(transactions, data):
    n = len(transactions)
    matrix = np.array(
        data.draw(st.lists(st.lists(finite, min_size=len(FEATURES), max_size=len(FEATURES)), min_size=n, max_size=n))
    )
    champion, challenger = (
        Scored(version, 0.5, np.array(data.draw(st.lists(st.floats(0, 1), min_size=n, max_size=n)))) for version in "12"
    )
    arms = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    anomaly = Anomaly(champion.scores, 0.5)
    decisions = Decisions(champion, challenger, arms, 0.25, model_is_confirmed=True, anomaly=anomaly)
    repeats = data.draw(st.sets(st.integers(0, n - 1)))
    used = RATES.used_for(transactions)
    encoded = encode_predictions(transactions, matrix, decisions, {}, [None] * n, repeats=repeats, rates_used=used)
    served = decode_predictions(encoded)
    assert served.schema == pl.Schema(PREDICTION_COLUMNS)
    assert served.select(FEATURES).to_numpy().tolist() == matrix.tolist()
    assert served["exchange_rate_table"].to_list() == used.tables
    assert served["rate_missing"].to_list() == used.is_missing
    assert served["score"].to_list() == np.where(arms, challenger.scores, champion.scores).tolist()
    assert served["anomaly_score"].to_list() == champion.scores.tolist()
    assert served["shadow_score"].to_list() == np.where(arms, champion.scores, challenger.scores).tolist()
    assert served["is_repeat"].to_list() == [row in repeats for row in range(n)]
    as_sent = [name for name in PREDICTION_COLUMNS if name in COLUMNS]
    assert {"merchant_id", "currency", "outcome", "event_time_ms", "ingest_time_ms", "offset"} <= set(as_sent)
    assert served.select(as_sent).equals(transactions.select(as_sent))


def test_no_model_gives_nulls():
    row = {"transaction_id": "t", "user_id": "u", "merchant_id": "m", "amount_minor": 1, "currency": "EUR"}
    times = {"event_time_ms": 0, "ingest_time_ms": 0, "partition": 0, "offset": 0}
    transactions = pl.DataFrame([row | times], schema=COLUMNS)
    nobody = Decisions(None, None, np.array([False]), 0.0, model_is_confirmed=True)
    [row] = decode_predictions(
        encode_predictions(transactions, np.zeros((1, len(FEATURES))), nobody, {}, [None])
    ).to_dicts()
    assert [row[name] for name in ("score", "threshold", "model_version", "anomaly_score")] == [None] * 4
    assert row["prediction"] == 0


def test_no_messages_give_an_empty_table():
    assert decode_predictions([]).schema == pl.Schema(PREDICTION_COLUMNS)
