"""Histories brought up to a micro-batch from a real topic, into a real store."""

import threading
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from fraud_assets_tests.services import Broker
from fraud_assets_tests.streaming.parts import messages, payments
from fraud_core.features.exchange_rates import NO_RATES
from fraud_core.features.merchant_risk import MerchantRisk
from fraud_core.features.table import FEATURES
from fraud_core.payments.reader import ReadingRules
from fraud_core.payments.transaction import decode_transactions
from fraud_io.kafka.producer import make_producer
from fraud_io.kafka.reader import TopicReader
from streaming.errors import StoppedError
from streaming.job.rebuild import HistoryRebuilder
from streaming.job.scorer import Scorer
from streaming.state.checkpoint import OffsetRange
from streaming.state.online_store import HistoriesLostError, OnlineStore

pytestmark = pytest.mark.streaming

RULES = ReadingRules(300_000)


@pytest.fixture(scope="module")
def topic(broker: Broker) -> str:
    """One partition with 40 payments, in two transactions, and ten in a third that was taken back."""
    name = broker.make_topic(1)
    producer = make_producer({**broker.settings.confluent_kafka(), "transactional.id": name})
    producer.init_transactions(60)
    rows = payments(50, users=4, partitions=1)
    for begin, end in ((0, 15), (15, 40), (40, 50)):
        producer.begin_transaction()
        for row, value in zip(rows[begin:end].to_dicts(), messages(rows[begin:end]), strict=True):
            producer.produce(name, value, row["user_id"], 0, timestamp=row["ingest_time_ms"])
        assert producer.flush(60) == 0
        producer.commit_transaction(60) if end <= 40 else producer.abort_transaction(60)
    return name


@pytest.fixture
def store(valkey) -> OnlineStore:
    return OnlineStore(valkey.url, "rebuilt", threading.Event())


@pytest.fixture
def rebuilder(broker: Broker, topic: str, store: OnlineStore) -> HistoryRebuilder:
    return HistoryRebuilder(broker.settings, topic, RULES, Scorer(store, topic), store, NO_RATES)


@pytest.fixture
def fold(broker: Broker, topic: str, store: OnlineStore) -> Callable[[OffsetRange], None]:
    """Brings the histories over a range, as one micro-batch leaves them."""

    def over(covered: OffsetRange) -> None:
        found = list(TopicReader(broker.settings).read(topic, {0: (covered.start, covered.end)}))
        times_ms = [message.timestamp()[1] for message in found]
        transactions = decode([message.value() for message in found], [message.offset() for message in found], times_ms)
        _, histories = Scorer(store, topic).features(transactions, {0: covered}, MerchantRisk.empty(), NO_RATES)
        store.write({0: covered}, histories.users, histories.blobs)

    return over


def decode(values: list[bytes], offsets: list[int], times_ms: list[int]) -> pl.DataFrame:
    of_partition = [0] * len(values)
    return decode_transactions(values, of_partition, offsets, times_ms, RULES).transactions


def next_features(store: OnlineStore, end: int) -> np.ndarray:
    """Features of a payment of each user at the offsets from ``end`` on, (4, len(FEATURES))."""
    rows = payments(54, users=4, partitions=1)[50:]
    arrived = decode(messages(rows), list(range(end, end + 4)), rows["ingest_time_ms"].to_list())
    covered = {0: OffsetRange(0, end, end + 4)}
    batch, _ = Scorer(store, "any").features(arrived, covered, MerchantRisk.empty(), NO_RATES)
    assert len(batch.values) == 4
    assert (batch.values[:, FEATURES.index("rolling_count_7d")] > 0).all()
    return batch.values


@pytest.mark.parametrize("end", [10, 16, 42, 53])
def test_a_lost_store_is_rebuilt_to_the_offset_although_records_are_missing_before_it(
    broker, topic, rebuilder, fold, store, valkey, end
):
    assert TopicReader(broker.settings).bounds(topic) == {0: (0, 53)}
    rebuilder.rebuild(0, OffsetRange(0, end, end + 4), threading.Event())
    rebuilt = next_features(store, end)
    valkey.client.flushdb()
    fold(OffsetRange(0, 0, end))
    assert np.array_equal(next_features(store, end), rebuilt)


def test_an_older_copy_of_the_store_is_brought_up_from_where_it_is(rebuilder, fold, store, valkey):
    fold(OffsetRange(0, 0, 53))
    expected = next_features(store, 53)
    valkey.client.flushdb()
    fold(OffsetRange(0, 0, 7))
    rebuilder.rebuild(0, OffsetRange(0, 53, 57), threading.Event())
    assert np.array_equal(next_features(store, 53), expected)


def test_histories_of_a_version_before_are_rebuilt_and_none_of_them_stays(rebuilder, fold, store, valkey):
    fold(OffsetRange(0, 0, 53))
    expected, written = next_features(store, 53), valkey.contents()
    (key,) = written
    for field, value in written[key].items():
        valkey.client.hset(key, field, b"rebuilt 53" if field == b"position" else b"\1" + value[1:])
    valkey.client.hset(key, ":gone", b"of a card that does not come again")
    with pytest.raises(HistoriesLostError):
        next_features(store, 53)
    rebuilder.rebuild(0, OffsetRange(0, 53, 57), threading.Event())
    assert valkey.contents() == written
    assert np.array_equal(next_features(store, 53), expected)


def test_a_stop_ends_a_rebuild(rebuilder, store):
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        rebuilder.rebuild(0, OffsetRange(0, 53, 60), stop)
    assert store.position(0) is None
