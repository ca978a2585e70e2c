"""A prediction is written as its schema says, and its numbers come back to the bit."""

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_assets_tests.core.streams import RATES, START_MS, streams
from fraud_assets_tests.schemas import validator
from fraud_core.decisions.prediction import MAX_REASONS, Anomaly, Decisions, Scored, encode_predictions, top_reasons
from fraud_core.features.table import FEATURES
from fraud_core.money import minor_units
from fraud_core.payments.dead_letter import MAX_ORIGINAL_BYTES, encode_dead_letter
from fraud_core.payments.transaction import COLUMNS
from fraud_core.timestamps import format_rfc3339_ms

PREDICTION = validator("prediction.schema.json")
DEAD_LETTER = validator("dead_letter.schema.json")

AS_SENT = ("transaction_id", "user_id", "merchant_id", "currency", "merchant_category", "channel", "country")
AS_SENT += ("type", "outcome", "partition", "offset")
values = st.floats(allow_nan=False, allow_infinity=False)
scores = st.floats(0, 1)


def decided(n: int, champion: Scored | None = None, challenger: Scored | None = None, **fields) -> Decisions:
    known = {"is_challengers": np.zeros(n, dtype=bool), "review_share": 0.0, "model_is_confirmed": True}
    return Decisions(champion, challenger, **(known | fields))


@given(streams(max_size=5), st.data())
def test_every_prediction_conforms_to_the_schema_and_its_numbers_round_trip(transactions, data):
    n = len(transactions)
    drawn = data.draw(
        st.lists(st.lists(values, min_size=len(FEATURES), max_size=len(FEATURES)), min_size=n, max_size=n)
    )
    matrix = np.array(drawn)
    champion = Scored("3", 0.25, np.array(data.draw(st.lists(scores, min_size=n, max_size=n))))
    challenger = Scored("4", 0.5, np.array(data.draw(st.lists(scores, min_size=n, max_size=n))))
    tables = data.draw(st.lists(st.sampled_from(("1-abc.parquet", None)), min_size=n, max_size=n))
    reasons = {0: top_reasons(matrix[:1], matrix[:1])[0]}

    is_confirmed = data.draw(st.booleans())
    arms = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    share = data.draw(st.sampled_from((0.0, 0.005, 0.5, 1.0)))
    strangeness = np.array(data.draw(st.lists(scores, min_size=n, max_size=n)))
    anomaly = data.draw(st.sampled_from((Anomaly(strangeness, 0.5), None)))
    decisions = decided(
        n,
        champion,
        challenger,
        is_challengers=arms,
        review_share=share,
        model_is_confirmed=is_confirmed,
        anomaly=anomaly,
    )

    repeats = data.draw(st.sets(st.integers(0, n - 1)))
    used = RATES.used_for(transactions)

    encoded = encode_predictions(transactions, matrix, decisions, reasons, tables, repeats=repeats, rates_used=used)

    for row, (prediction, transaction) in enumerate(
        zip(map(orjson.loads, encoded), transactions.to_dicts(), strict=True)
    ):
        PREDICTION.validate(prediction)
        assert list(prediction["features"].values()) == matrix[row].tolist()
        assert list(prediction["features"]) == list(FEATURES)
        assert prediction["amount"] == transaction["amount_minor"] / minor_units(transaction["currency"])
        assert prediction["exchange_rate_table"] == used.tables[row]
        assert prediction["rate_missing"] is used.is_missing[row]
        assert prediction["rolling_avg_7d"] == matrix[row, FEATURES.index("rolling_avg_7d")]
        assert prediction["amount_to_avg_ratio"] == matrix[row, FEATURES.index("amount_to_avg_ratio")]
        model, shadow = (challenger, champion) if arms[row] else (champion, challenger)
        assert prediction["arm"] == ("challenger" if arms[row] else "champion")
        assert prediction["model_version"] == model.version
        assert prediction["score"] == model.scores[row]
        assert prediction["threshold"] == model.threshold
        assert prediction["prediction"] == int(model.scores[row] >= model.threshold)
        assert prediction["model_is_confirmed"] is is_confirmed
        assert prediction["shadow_model_version"] == shadow.version
        assert prediction["shadow_score"] == shadow.scores[row]
        assert prediction["shadow_prediction"] == int(shadow.scores[row] >= shadow.threshold)
        is_strange = anomaly is not None and strangeness[row] >= 0.5
        assert prediction["anomaly_score"] == (None if anomaly is None else strangeness[row])
        assert prediction["review_probability"] == (1.0 if prediction["prediction"] or is_strange else share)
        assert not (prediction["review_sample"] and (prediction["prediction"] or (share == 0 and not is_strange)))
        assert prediction["review_sample"] or prediction["prediction"] or (share < 1 and not is_strange)
        assert prediction["merchant_risk_table"] == tables[row]
        assert prediction["reasons"] == reasons.get(row, [])
        assert prediction["event_time"] == format_rfc3339_ms(transaction["event_time_ms"])
        assert prediction["is_repeat"] is (row in repeats)
        assert {name: prediction[name] for name in AS_SENT} == {name: transaction[name] for name in AS_SENT}


def one_transaction(**fields) -> pl.DataFrame:
    known = {"partition": 0, "offset": 7, "ingest_time_ms": START_MS, "event_time_ms": START_MS}
    paid = {"amount_minor": 1250, "currency": "EUR"}
    row = {**known, **paid, "transaction_id": "t", "user_id": "u", "merchant_id": "m", **fields}
    return pl.DataFrame([row], schema=COLUMNS)


def test_without_a_model_the_score_is_null_and_the_prediction_zero():
    zeros = np.zeros((1, len(FEATURES)))
    (encoded,) = encode_predictions(one_transaction(), zeros, decided(1), {}, [None])
    prediction = orjson.loads(encoded)
    PREDICTION.validate(prediction)
    assert prediction["prediction"] == 0
    assert [prediction[name] for name in ("score", "threshold", "model_version", "shadow_prediction")] == [None] * 4


@given(st.lists(st.floats(-1e16, 1e16, exclude_min=True, exclude_max=True), min_size=1, max_size=len(FEATURES)))
def test_numbers_up_to_ten_to_the_sixteen_are_written_in_their_shortest_form(numbers):
    """No feature is larger: a thousand of the largest amounts come to 1e12. orjson writes the reference."""
    row = np.resize(np.array(numbers), (1, len(FEATURES)))
    (encoded,) = encode_predictions(one_transaction(), row, decided(1), {}, [None])
    assert encoded.endswith(b'"features":' + orjson.dumps(dict(zip(FEATURES, row[0].tolist(), strict=True))) + b"}")


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a],[b", "ünï", "a\nb", "%b", "\x00"])
def test_names_are_escaped(name):
    zeros = np.zeros((1, len(FEATURES)))
    named = one_transaction(transaction_id=name, user_id=name)
    (encoded,) = encode_predictions(named, zeros, decided(1), {}, [name])
    prediction = orjson.loads(encoded)
    assert [prediction[key] for key in ("transaction_id", "user_id", "merchant_risk_table")] == [name] * 3


def test_no_transactions_give_no_predictions():
    nothing = np.zeros((0, len(FEATURES)))
    nobody, shadow = one_transaction().clear(), Scored("1", 0.5, np.zeros(0))
    assert encode_predictions(nobody, nothing, decided(0, challenger=shadow), {}, []) == []


def test_reasons_are_the_largest_positive_contributions_first():
    contributions = np.zeros((1, len(FEATURES)))
    contributions[0, :8] = [0.1, -9.0, 0.3, 0.3, 0.0, 0.7, 0.2, 0.05]
    (reasons,) = top_reasons(np.arange(len(FEATURES), dtype=float)[np.newaxis], contributions)
    assert [reason["feature"] for reason in reasons] == [FEATURES[at] for at in (5, 2, 3, 6, 0)]
    assert len(reasons) == MAX_REASONS
    assert reasons[0] == {"feature": FEATURES[5], "value": 5.0, "contribution": 0.7}


@pytest.mark.parametrize("key", [None, b"u"])
@pytest.mark.parametrize("value", [None, b"", b"\xff\x00{"])
def test_a_dead_letter_conforms_to_the_schema(key, value):
    sent_key, letter = encode_dead_letter("transactions", 3, 12, START_MS, "not JSON", "not JSON: x", key, value)
    DEAD_LETTER.validate(orjson.loads(letter))
    assert sent_key == key


def test_a_record_too_large_to_be_repeated_leaves_its_position_and_size():
    key, letter = encode_dead_letter(
        "transactions", 3, 12, START_MS, "schema", "amount: x", b"u", b"x" * MAX_ORIGINAL_BYTES
    )
    DEAD_LETTER.validate(orjson.loads(letter))
    assert key is None
    assert orjson.loads(letter)["value_base64"] is None
    assert f"{MAX_ORIGINAL_BYTES + 1} bytes" in orjson.loads(letter)["reason"]
