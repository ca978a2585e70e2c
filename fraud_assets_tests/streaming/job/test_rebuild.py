"""Histories brought up to a micro-batch from a real topic, into a real store."""

import threading
import uuid
from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest

from fraud_assets_tests.streaming.conftest import Broker, free_port
from fraud_assets_tests.streaming.parts import messages, payments
from fraud_core.features.merchant_risk import MerchantRisk
from fraud_core.features.table import FEATURES
from fraud_core.payments.transaction import decode_transactions
from fraud_core.settings import Settings
from fraud_core.topics import TRANSACTIONS
from fraud_io.kafka_producer import make_producer
from fraud_io.kafka_reader import TopicReader
from streaming.errors import StoppedError
from streaming.job.rebuild import HistoryRebuilder
from streaming.job.scorer import Scorer
from streaming.state.checkpoint import OffsetRange
from streaming.state.online_store import OnlineStore

pytestmark = pytest.mark.streaming

TOLERANCE_MS = 300_000


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Iterator[Settings]:
    """Of a broker with 40 payments in partition 0, in two transactions, and ten in a third that was taken back."""
    ports = {"kafka_port": free_port(), "kafka_controller_port": free_port()}
    settings = Settings(home=tmp_path_factory.mktemp("kafka"), partitions=1, **ports)
    broker = Broker(settings)
    producer = make_producer({**settings.confluent_kafka(), "transactional.id": uuid.uuid4().hex})
    producer.init_transactions(60)
    rows = payments(50, users=4, partitions=1)
    for begin, end in ((0, 15), (15, 40), (40, 50)):
        producer.begin_transaction()
        for row, value in zip(rows[begin:end].to_dicts(), messages(rows[begin:end]), strict=True):
            producer.produce(TRANSACTIONS.name, value, row["user_id"], 0, timestamp=row["ingest_time_ms"])
        assert producer.flush(60) == 0
        producer.commit_transaction(60) if end <= 40 else producer.abort_transaction(60)
    yield settings
    broker.kill()


@pytest.fixture
def store(valkey) -> OnlineStore:
    return OnlineStore(valkey.url, "rebuilt", threading.Event())


def rebuilder(settings: Settings, store: OnlineStore) -> HistoryRebuilder:
    return HistoryRebuilder(settings, TRANSACTIONS.name, TOLERANCE_MS, Scorer(store, TRANSACTIONS.name), store)


def decode(values: list[bytes], offsets: list[int], times_ms: list[int]) -> pl.DataFrame:
    of_partition = [0] * len(values)
    return decode_transactions(values, of_partition, offsets, times_ms, future_tolerance_ms=TOLERANCE_MS).transactions


def fold(settings: Settings, store: OnlineStore, covered: OffsetRange) -> None:
    """The histories as one micro-batch leaves them."""
    found = list(TopicReader(settings).read(TRANSACTIONS.name, {0: (covered.start, covered.end)}))
    times_ms = [message.timestamp()[1] for message in found]
    transactions = decode([message.value() for message in found], [message.offset() for message in found], times_ms)
    _, histories = Scorer(store, TRANSACTIONS.name).features(transactions, {0: covered}, MerchantRisk.empty())
    store.write({0: covered}, histories.users, histories.blobs)


def next_features(store: OnlineStore, end: int) -> np.ndarray:
    """Features of a payment of each user at the offsets from ``end`` on, (4, len(FEATURES))."""
    rows = payments(54, users=4, partitions=1)[50:]
    arrived = decode(messages(rows), list(range(end, end + 4)), rows["ingest_time_ms"].to_list())
    covered = {0: OffsetRange(0, end, end + 4)}
    values, _ = Scorer(store, TRANSACTIONS.name).features(arrived, covered, MerchantRisk.empty())
    assert len(values) == 4
    assert (values[:, FEATURES.index("rolling_count_7d")] > 0).all()
    return values


@pytest.mark.parametrize("end", [10, 16, 42, 53])
def test_a_lost_store_is_rebuilt_to_the_offset_although_records_are_missing_before_it(settings, store, valkey, end):
    assert TopicReader(settings).bounds(TRANSACTIONS.name) == {0: (0, 53)}
    rebuilder(settings, store).rebuild(0, OffsetRange(0, end, end + 4), threading.Event())
    rebuilt = next_features(store, end)
    valkey.client.flushdb()
    fold(settings, store, OffsetRange(0, 0, end))
    assert np.array_equal(next_features(store, end), rebuilt)


def test_an_older_copy_of_the_store_is_brought_up_from_where_it_is(settings, store, valkey):
    fold(settings, store, OffsetRange(0, 0, 53))
    expected = next_features(store, 53)
    valkey.client.flushdb()
    fold(settings, store, OffsetRange(0, 0, 7))
    rebuilder(settings, store).rebuild(0, OffsetRange(0, 53, 57), threading.Event())
    assert np.array_equal(next_features(store, 53), expected)


def test_a_stop_ends_a_rebuild(settings, store):
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        rebuilder(settings, store).rebuild(0, OffsetRange(0, 53, 60), stop)
    assert store.position(0) is None
