"""The audit finds nothing where the stream and training agree, and every bit where they do not."""

import itertools
from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_assets_tests.core.streams import RATES, cuts, streams
from fraud_assets_tests.streaming.parts import detector, model, payments
from fraud_core.decisions.parity import NO_TRANSACTION, differences
from fraud_core.decisions.prediction import Anomaly, Decisions, Scored, encode_predictions
from fraud_core.decisions.prediction_table import decode_predictions
from fraud_core.features.exchange_rates import NO_RATES
from fraud_core.features.merchant_risk import MERCHANT_FEATURES, MerchantRisk
from fraud_core.features.table import FEATURES, FeatureBatch, compute_features, users_of
from fraud_core.model.fraud_model import FraudModel
from fraud_core.payments.transaction import COLUMNS

TABLE = ({"m0": 0, "m1": 1}, np.arange(2.0 * len(MERCHANT_FEATURES)).reshape(2, -1))
TABLES = {"0-abc.parquet": TABLE}


@cache
def models() -> dict[str, FraudModel]:
    return {"1": model(1, 0.3), "2": model(2)}


def serve(stream: pl.DataFrame, bounds: list[int], arms: np.ndarray) -> pl.DataFrame:
    """As the stream does: in micro-batches, each partition with the histories it has; PREDICTION_COLUMNS."""
    histories: dict[tuple[int, str], bytes] = {}
    served = []
    for begin, end in itertools.pairwise(bounds):
        batch = stream[begin:end].sort("partition", "offset")
        for part in batch.partition_by("partition", maintain_order=True):
            users = users_of(part)
            old = [histories.get(user) for user in users]
            computed = compute_features(part, old, MerchantRisk({0: TABLE}), RATES)
            histories |= dict(zip(users, computed.new_histories(), strict=True))
            served.append(decode_predictions(encode(part, computed, arms[part["offset"].to_numpy()])))
    return pl.concat(served)


def encode(part: pl.DataFrame, computed: FeatureBatch, is_challengers: np.ndarray) -> list[bytes]:
    values, repeats = computed.values, set(np.flatnonzero(computed.is_repeat).tolist())
    champion, challenger = (Scored(name, of.card.threshold, of.score(values)) for name, of in models().items())
    anomaly = Anomaly(detector().score(values), detector().limit)
    decisions = Decisions(champion, challenger, is_challengers, 0.5, model_is_confirmed=True, anomaly=anomaly)
    tables = ["0-abc.parquet"] * len(part)
    return encode_predictions(part, values, decisions, {}, tables, repeats=repeats, rates_used=RATES.used_for(part))


@settings(deadline=None, max_examples=40)
@given(streams(max_size=15), st.data())
def test_whatever_the_stream_serves_in_whatever_micro_batches_is_recomputed_to_the_bit(stream, data):
    stream = stream.sort("offset")
    n = len(stream)
    arms = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    served = serve(stream, data.draw(cuts(n)), arms)
    assert differences(served, stream, TABLES, models(), RATES).is_empty()


@pytest.fixture
def stream() -> pl.DataFrame:
    return plain(40)


def plain(n: int) -> pl.DataFrame:
    """Payments of three cards in two partitions, as transaction.COLUMNS."""
    rows = pl.concat([pl.DataFrame(schema=COLUMNS), payments(n)], how="diagonal_relaxed")
    return rows.cast(COLUMNS).sort("partition", "offset")


def as_served(stream: pl.DataFrame) -> pl.DataFrame:
    return serve(stream, [0, len(stream)], np.zeros(len(stream), dtype=bool))


@pytest.mark.parametrize("field", ["amount", "rolling_avg_7d", FEATURES[-1], "score", "shadow_score", "anomaly_score"])
def test_one_flipped_bit_is_found_with_its_id(stream, field):
    served = as_served(stream)
    flipped = served[field].to_numpy().copy()
    flipped.view(np.int64)[7] ^= 1
    found = differences(served.with_columns(pl.Series(field, flipped)), stream, TABLES, models(), NO_RATES)
    assert found.select("transaction_id", "field").rows() == [(served["transaction_id"][7], field)]
    assert found["served"][0] == flipped[7]


def test_a_feature_that_broke_is_found_in_every_row_it_differs_in(stream):
    served = as_served(stream)
    broken = differences(served.with_columns(amount=pl.lit(0.0)), stream, TABLES, models(), NO_RATES)
    assert set(broken["field"]) == {"amount"}
    assert broken.height == served.height


def test_a_repeat_that_was_not_marked_is_found(stream):
    repeated = stream.with_columns(transaction_id=pl.col("transaction_id").first().over("partition", "user_id"))
    served = as_served(repeated)
    assert served["is_repeat"].sum() == len(stream) - 3
    found = differences(served.with_columns(is_repeat=pl.lit(False)), repeated, TABLES, models(), NO_RATES)
    assert set(found["field"]) == {"is_repeat"}
    assert found.height == len(stream) - 3


def test_a_decision_on_nothing_and_a_null_in_place_of_a_number_are_found(stream):
    served = as_served(stream)
    without = differences(served, stream.head(len(stream) - 1), TABLES, models(), NO_RATES)
    assert without["field"].to_list() == [NO_TRANSACTION]
    nulled = served.with_columns(score=pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise("score"))
    assert differences(nulled, stream, TABLES, models(), NO_RATES)["field"].to_list() == ["score"]


def test_an_earlier_transaction_that_is_not_in_the_lake_shows_in_the_features_of_later_ones(stream):
    of_user = stream.filter(pl.col("user_id") == "u0")
    first, later = of_user.head(1), of_user.tail(-1)
    rest = stream.join(first, on="transaction_id", how="anti")
    found = differences(
        as_served(stream).join(first, on="transaction_id", how="anti"), rest, TABLES, models(), NO_RATES
    )
    counted = found.filter(pl.col("field") == "rolling_count_7d")
    assert set(found["transaction_id"]) == set(counted["transaction_id"]) == set(later["transaction_id"])
    assert (counted["served"] - counted["recomputed"]).to_list() == [1.0] * later.height


def test_without_a_model_there_is_no_score_to_compare_and_the_features_still_are():
    stream = plain(5)
    values = compute_features(stream, None, MerchantRisk.empty(), NO_RATES).values
    nobody = Decisions(None, None, np.zeros(len(stream), dtype=bool), 0.0, model_is_confirmed=False)
    served = decode_predictions(encode_predictions(stream, values, nobody, {}, [None] * len(stream)))
    assert differences(served, stream, {}, {}, NO_RATES).is_empty()


def test_nothing_served_differs_in_nothing():
    nothing = decode_predictions([])
    assert differences(nothing, plain(1).clear(), {}, {}, NO_RATES).is_empty()
