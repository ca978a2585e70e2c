"""The scorer with a real store: what a replay, a cut, or a bad message may and may not change."""

import itertools
import threading
from functools import cache

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_assets_tests.core.streams import RATES, cuts, streams
from fraud_assets_tests.schemas import validator
from fraud_assets_tests.services import Valkey
from fraud_assets_tests.streaming.parts import model, payments, ranges, records
from fraud_core.features.exchange_rates import NO_RATES
from fraud_core.features.history import ENTRY, HEADER
from fraud_core.features.merchant_risk import MerchantRisk
from fraud_core.features.table import FEATURES, compute_features
from fraud_core.payments.reader import ReadingRules
from fraud_core.payments.transaction import OPTIONAL
from fraud_core.timestamps import DAY_MS
from streaming.job.scorer import ScoredBatch, Scorer, Serving
from streaming.models.merchant_risk_source import NO_TABLES
from streaming.models.model_cache import Models, ServedModel
from streaming.state.online_store import OnlineStore

pytestmark = pytest.mark.streaming

NO_MODEL = Serving(Models(), NO_TABLES, ReadingRules(365 * DAY_MS))


@cache
def two_models(threshold: float = 0.4) -> Serving:
    models = Models(ServedModel("1", model(1, threshold)), ServedModel("2", model(2)), is_confirmed=True)
    return Serving(models, NO_TABLES, ReadingRules(365 * DAY_MS), exchange_rates=RATES)


class Stream:
    """Scores a stream in micro-batches as the job does."""

    def __init__(self, valkey: Valkey, serving: Serving) -> None:
        valkey.client.flushdb()
        self._store = OnlineStore(valkey.url, "test", threading.Event())
        self._scorer = Scorer(self._store, "transactions")
        self._serving = serving
        self._ends: dict[int, int] = {}

    def score(self, batch: pl.DataFrame, values: list[bytes | None] | None = None, replays: int = 0) -> ScoredBatch:
        begin = dict(self._ends)
        for partition, offset in batch.select("partition", "offset").rows():
            self._ends[partition] = max(offset + 1, self._ends.get(partition, 0))
        covered = ranges(begin, self._ends)
        attempts = []
        for _ in range(1 + replays):
            scored = self._scorer.score(records(batch, values), covered, self._serving)
            self._store.write(covered, scored.histories.users, scored.histories.blobs)
            attempts.append(scored)
        assert all(attempt.predictions == attempts[0].predictions for attempt in attempts)
        assert all(attempt.histories.blobs == attempts[0].histories.blobs for attempt in attempts)
        return attempts[0]


@given(data=st.data())
def test_micro_batches_of_any_cut_each_replayed_equal_one_batch(running_valkey, data):
    stream = data.draw(streams(max_size=15)).sort("offset")
    whole = Stream(running_valkey, two_models()).score(stream).predictions
    cut = Stream(running_valkey, two_models())
    parts = [
        cut.score(stream[begin:end], replays=1).predictions
        for begin, end in itertools.pairwise(data.draw(cuts(len(stream))))
    ]
    assert sorted(itertools.chain(*parts)) == sorted(whole)


def test_the_stream_computes_the_features_that_training_computes(valkey):
    stream = payments(40)
    trained_on = compute_features(stream_as_decoded(stream), None, MerchantRisk.empty(), NO_RATES).values
    job = Stream(valkey, NO_MODEL)
    served = [
        (prediction["partition"], prediction["offset"], list(prediction["features"].values()))
        for begin in range(0, 40, 7)
        for prediction in predictions(job.score(stream[begin : begin + 7]))
    ]
    assert [features for *_, features in sorted(served)] == trained_on.tolist()


def stream_as_decoded(stream: pl.DataFrame) -> pl.DataFrame:
    missing = [pl.lit(None, kind).alias(name) for name, kind in OPTIONAL.items()]
    return stream.with_columns(missing).sort("partition", "offset")


def predictions(scored: ScoredBatch) -> list[dict]:
    return [orjson.loads(value) for _, value in scored.predictions]


BAD = {
    "no value": None,
    "empty": b"",
    "not JSON": b"{",
    "invalid UTF-8": b'{"transaction_id": "\xff"}',
    "no object": b"[]",
    "a number": b"7",
    "NaN": b'{"amount": NaN}',
    "deep nesting": b"[" * 100_000 + b"]" * 100_000,
    "missing field": b'{"transaction_id": "t"}',
    "huge": b'"' + b"x" * 1_000_000 + b'"',
}


def valid(**fields) -> bytes:
    message = {
        "transaction_id": "t",
        "user_id": "u",
        "merchant_id": "m",
        "amount": 1.5,
        "currency": "EUR",
        "timestamp": "2026-01-01T00:00:00Z",
    }
    return orjson.dumps(message | fields)


BAD |= {
    "a label": valid(is_fraud=True),
    "wrong type": valid(amount=["1.5"]),
    "huge number": valid(amount=1e300),
    "no amount": valid(amount=None),
    "no such day": valid(timestamp="2026-02-30T00:00:00Z"),
    "the far future": valid(timestamp="2999-01-01T00:00:00Z"),
    "no zone": valid(timestamp="2026-01-01T00:00:00"),
    "half a surrogate": b'{"transaction_id": "\\ud800"}',
}


def test_every_bad_message_becomes_a_dead_letter_with_a_reason_and_the_good_ones_are_scored(valkey):
    good = payments(len(BAD) + 1, users=1, partitions=1)
    mixed = [value for bad in BAD.values() for value in (valid(), bad)] + [valid()]
    stream = pl.concat([good, good])[: len(mixed)].with_columns(offset=pl.int_range(len(mixed)))

    scored = Stream(valkey, two_models()).score(stream, mixed)

    assert [prediction["offset"] for prediction in predictions(scored)] == list(range(0, len(mixed), 2))
    letters = [orjson.loads(value) for _, value in scored.dead_letters]
    assert [letter["offset"] for letter in letters] == list(range(1, len(mixed), 2))
    assert all(letter["reason"] for letter in letters)
    assert sum(scored.refused.values()) == len(BAD)


def test_a_batch_of_nothing_but_bad_messages_is_finished_too(valkey):
    job = Stream(valkey, two_models())
    scored = job.score(payments(3), [b"{"] * 3)
    assert (len(scored.predictions), len(scored.dead_letters)) == (0, 3)
    assert len(job.score(payments(6)[3:]).predictions) == 3


def test_without_a_model_every_transaction_still_gets_a_prediction(valkey):
    scored = Stream(valkey, NO_MODEL).score(payments(5))
    assert [prediction["score"] for prediction in predictions(scored)] == [None] * 5
    assert [prediction["prediction"] for prediction in predictions(scored)] == [0] * 5
    assert scored.alerts == 0


def test_only_flagged_transactions_carry_reasons_and_all_conform_to_the_schema(valkey):
    scores = [p["score"] for p in predictions(Stream(valkey, two_models()).score(payments(200)))]
    scored = predictions(Stream(valkey, two_models(threshold=max(scores))).score(payments(200)))
    schema = validator("prediction.schema.json")
    for prediction in scored:
        schema.validate(prediction)
        assert bool(prediction["reasons"]) == bool(prediction["prediction"])
        assert prediction["prediction"] == int(prediction["score"] >= prediction["threshold"])
    assert 0 < sum(prediction["prediction"] for prediction in scored) < 200


def test_contributions_of_the_reasons_come_from_the_deciding_model(valkey):
    flagged = [p for p in predictions(Stream(valkey, two_models()).score(payments(200))) if p["prediction"]]
    values = np.array([list(prediction["features"].values()) for prediction in flagged])
    for prediction, contributions in zip(flagged, model(1).contributions(values), strict=True):
        for reason in prediction["reasons"]:
            assert reason["contribution"] == contributions[FEATURES.index(reason["feature"])]


def test_a_user_spread_over_partitions_has_a_history_in_each(valkey):
    stream = payments(20, users=1, partitions=1).with_columns(
        partition=pl.int_range(20) % 2, offset=pl.int_range(20) // 2
    )
    whole = sorted(Stream(valkey, NO_MODEL).score(stream).predictions)
    job = Stream(valkey, NO_MODEL)
    parts = [job.score(stream[begin : begin + 3], replays=1).predictions for begin in range(0, 20, 3)]
    assert sorted(itertools.chain(*parts)) == whole
    last = max(map(orjson.loads, (value for _, value in whole)), key=lambda prediction: prediction["offset"])
    assert last["features"]["rolling_count_30d"] == 9


def test_a_payment_sent_again_is_decided_marked_and_in_no_history(valkey):
    stream = payments(6, users=1, partitions=1)
    again = stream[:4].with_columns(offset=pl.int_range(6, 10))
    job = Stream(valkey, two_models())
    first, second = job.score(pl.concat([stream, again[:2]]), replays=1), job.score(again[2:], replays=1)
    assert [prediction["is_repeat"] for prediction in predictions(first)] == [False] * 6 + [True] * 2
    assert [prediction["is_repeat"] for prediction in predictions(second)] == [True] * 2
    assert (first.repeats, second.repeats) == (2, 2)
    alone = Stream(valkey, two_models()).score(stream)
    entries = [
        (len(blob) - HEADER.itemsize) // ENTRY.itemsize for blob in (*second.histories.blobs, *alone.histories.blobs)
    ]
    assert entries == [6, 6]


def test_records_whose_key_is_not_their_user_id_are_counted(valkey):
    given = records(payments(4, users=2, partitions=1))
    keys = pa.array([b"u0", b"0", None, b"u1"], pa.binary())
    given = given.set_column(given.schema.get_field_index("key"), "key", keys)
    store = OnlineStore(valkey.url, "test", threading.Event())
    scored = Scorer(store, "transactions").score(given, ranges({}, {0: 4}), NO_MODEL)
    assert scored.foreign_keys == 2
    assert [key for key, _ in scored.predictions] == [b"u0", b"u1", b"u0", b"u1"]
    bad = Scorer(store, "transactions").score(records(payments(2), [b"{"] * 2), ranges({}, {0: 1, 1: 1}), NO_MODEL)
    assert bad.foreign_keys == 0


def test_records_in_another_order_give_the_same_predictions(valkey):
    stream = payments(30)
    assert (
        Stream(valkey, two_models()).score(stream.reverse()).predictions
        == Stream(valkey, two_models()).score(stream).predictions
    )


def test_what_is_strange_but_not_flagged_is_reviewed_for_certain_and_flags_nothing(valkey):
    served = two_models(threshold=2.0)  # flags nothing
    scored = predictions(Stream(valkey, served).score(payments(200)))
    detector = served.models.champion.model.anomaly
    values = np.array([list(prediction["features"].values()) for prediction in scored])
    assert [prediction["anomaly_score"] for prediction in scored] == detector.score(values).tolist()
    is_strange = detector.score(values) >= detector.limit
    assert 0 < is_strange.sum() < 200
    assert [prediction["review_sample"] for prediction in scored] == is_strange.tolist()
    assert [prediction["review_probability"] for prediction in scored] == np.where(is_strange, 1.0, 0.0).tolist()
    assert not any(prediction["prediction"] for prediction in scored)
