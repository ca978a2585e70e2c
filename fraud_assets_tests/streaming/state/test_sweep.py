"""Which histories are forgotten: a real topic says when payments arrived, a real store holds what is left."""

import threading

import pytest

from fraud_assets_tests.services import Broker, Valkey
from fraud_assets_tests.streaming.parts import SparkCheckpoint, messages, payments
from fraud_core.features.exchange_rates import NO_RATES
from fraud_core.features.history import FORGET_AFTER_MS
from fraud_core.features.merchant_risk import MerchantRisk
from fraud_core.features.table import compute_features, users_of
from fraud_core.payments.reader import ReadingRules
from fraud_core.payments.transaction import decode_transactions
from fraud_core.timestamps import DAY_MS, now_ms
from fraud_io.kafka.producer import make_producer
from streaming.errors import StoppedError
from streaming.state.checkpoint import Checkpoint, OffsetRange
from streaming.state.online_store import OnlineStore
from streaming.state.sweep import Sweep

pytestmark = pytest.mark.streaming

USERS = ["u0", "u1", "u2", "u3"]
OLD_MS = FORGET_AFTER_MS + DAY_MS


class Scene:
    """One payment of each of four cards in one partition; a card's was made and arrived so many ms ago."""

    def __init__(self, broker: Broker, valkey: Valkey, folder, made: list[int], arrived: list[int]) -> None:
        topic = broker.make_topic(1)
        producer = make_producer(broker.settings.confluent_kafka())
        now = now_ms()
        for ms in arrived:
            producer.produce(topic, b"{}", partition=0, timestamp=now - ms)
        assert producer.flush(30) == 0
        rows = payments(4, users=4, partitions=1)
        rows = rows.with_columns(event_time_ms=rows["offset"].replace_strict(dict(enumerate(now - ms for ms in made))))
        arrivals = decode_transactions(messages(rows), [0] * 4, [0, 1, 2, 3], [now] * 4, ReadingRules(0)).transactions
        assert users_of(arrivals) == [(0, user) for user in USERS]
        histories = compute_features(arrivals, None, MerchantRisk.empty(), NO_RATES).new_histories()
        self.store = OnlineStore(valkey.url, "stream", threading.Event())
        self.store.write({0: OffsetRange(0, 0, 4)}, {0: USERS}, histories)
        spark = SparkCheckpoint(folder, partitions=1, topic=topic)
        spark.plan(0, {0: 4})
        spark.commit(0)
        self.sweep = Sweep(broker.settings, Checkpoint(folder, topic), self.store)

    def left(self) -> list[str]:
        found = self.store.read({0: OffsetRange(0, 4, 5)}, {0: USERS})
        return [user for user, blob in zip(USERS, found, strict=True) if blob is not None]


@pytest.mark.parametrize(
    ("made", "arrived", "left"),
    [
        ([OLD_MS, OLD_MS, 0, 0], [OLD_MS, OLD_MS, 1, 0], ["u2", "u3"]),
        # What somebody replayed came just now.
        ([OLD_MS, OLD_MS, 0, 0], [3, 2, 1, 0], USERS),
        # A simulated stream that stood still for long goes on where its own clock was.
        ([OLD_MS + 3, OLD_MS + 2, OLD_MS + 1, OLD_MS], [OLD_MS, OLD_MS, 1, 0], USERS),
        # Nothing has come for long: the clock of the payments stands still.
        ([OLD_MS] * 4, [OLD_MS] * 4, USERS),
    ],
)
def test_a_card_is_forgotten_when_it_is_silent_for_long_by_both_clocks(broker, valkey, tmp_path, made, arrived, left):
    scene = Scene(broker, valkey, tmp_path, made, arrived)
    assert scene.sweep.run(threading.Event(), step_s=0) == 0  # learns how new the newest payments are
    assert scene.left() == USERS
    assert scene.sweep.run(threading.Event(), step_s=0) == 4 - len(left)
    assert scene.left() == left
    assert scene.store.position(0) == 4


def test_a_stop_ends_a_sweep(broker, valkey, tmp_path):
    scene = Scene(broker, valkey, tmp_path, [0] * 4, [0] * 4)
    many = [f"card{n}" for n in range(2000)]
    scene.store.write({0: OffsetRange(0, 4, 5)}, {0: many}, [valkey.client.hget("histories:{0}", ":u0")] * 2000)
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        scene.sweep.run(stop)
