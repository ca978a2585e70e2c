"""The online store: where histories lie, and what happens when they are not those the stream needs."""

import threading
import time

import pytest

from fraud_core.features.history import FORMAT
from fraud_io.errors import OperatorError
from streaming.errors import StoppedError
from streaming.state.checkpoint import OffsetRange
from streaming.state.online_store import HistoriesLostError, OnlineStore

pytestmark = pytest.mark.streaming

FIRST = {0: OffsetRange(0, 0, 10)}
SECOND = {0: OffsetRange(0, 10, 20)}
USERS = {0: ["a", "b"]}


@pytest.fixture
def store(valkey):
    return OnlineStore(valkey.url, "stream", threading.Event())


def test_histories_come_back_in_the_order_of_the_users(store):
    both = {1: OffsetRange(0, 0, 5), 0: OffsetRange(0, 0, 10)}
    assert store.read(both, {0: ["a", "b"], 1: ["c"]}) == [None, None, None]
    store.write(both, {0: ["a", "b"], 1: ["c"]}, [b"A", b"B", b"C"])
    assert store.read(both, {1: ["c"], 0: ["b", "x", "a"]}) == [b"C", b"B", None, b"A"]


def test_all_keys_of_a_partition_share_a_hash_tag(store, valkey):
    store.write({3: OffsetRange(0, 0, 1)}, {3: ["a"]}, [b"A"])
    assert valkey.contents() == {b"h:{3}:a": b"A", b"position:{3}": f"stream 1 {FORMAT}".encode()}


def test_a_replayed_micro_batch_finds_the_store_before_or_after_its_own_write(store):
    store.write(FIRST, USERS, [b"A", b"B"])
    store.read(FIRST, USERS)
    store.read(SECOND, USERS)
    store.write(SECOND, {}, [])
    store.read(SECOND, USERS)


def test_a_wiped_store_is_noticed(store, valkey):
    store.write(FIRST, USERS, [b"A", b"B"])
    valkey.client.flushdb()
    with pytest.raises(HistoriesLostError):
        store.read(SECOND, USERS)


@pytest.mark.parametrize("found", ["stream 10", f"stream 10 {FORMAT + 1}"])
def test_histories_of_another_format_are_lost_ones_and_do_not_stop_the_job(store, valkey, found):
    store.write(FIRST, USERS, [b"A", b"B"])
    valkey.client.set("position:{0}", found)
    for covered in (FIRST, SECOND, {0: OffsetRange(0, 20, 30)}):
        with pytest.raises(HistoriesLostError):
            store.read(covered, USERS)
    with pytest.raises(HistoriesLostError):
        store.write(SECOND, USERS, [b"A", b"B"])
    assert store.position(0) is None


def test_a_store_that_was_wiped_since_it_was_read_does_not_take_the_next_micro_batch_for_everything(store, valkey):
    store.write(FIRST, USERS, [b"A", b"B"])
    store.read(SECOND, USERS)
    valkey.client.flushdb()
    with pytest.raises(HistoriesLostError):
        store.write(SECOND, {0: ["a"]}, [b"AA"])
    assert valkey.contents() == {}


def test_an_older_copy_of_the_store_is_noticed(store):
    store.write(FIRST, USERS, [b"A", b"B"])
    with pytest.raises(HistoriesLostError):
        store.read({0: OffsetRange(0, 20, 30)}, USERS)


def test_a_store_ahead_of_the_checkpoint_is_refused(store):
    store.write({0: OffsetRange(0, 0, 30)}, USERS, [b"A", b"B"])
    with pytest.raises(OperatorError, match="ahead of the checkpoint"):
        store.read(SECOND, USERS)


def test_a_store_of_another_stream_is_refused(store, valkey):
    store.write(FIRST, USERS, [b"A", b"B"])
    with pytest.raises(OperatorError, match="another checkpoint"):
        OnlineStore(valkey.url, "other", threading.Event()).read(SECOND, USERS)


def test_clearing_a_partition_leaves_the_others(store, valkey):
    both = {1: OffsetRange(0, 0, 5), 0: OffsetRange(0, 0, 10)}
    store.write(both, {0: ["a", "b*"], 1: ["c"]}, [b"A", b"B", b"C"])
    store.clear(0)
    assert store.position(0) is None
    assert set(valkey.contents()) == {b"h:{1}:c", b"position:{1}"}


def test_what_was_acknowledged_survives_a_killed_store(store, valkey):
    store.write(FIRST, USERS, [b"A", b"B"])
    valkey.kill()
    valkey.start()
    assert store.read(SECOND, USERS) == [b"A", b"B"]


def test_an_unreachable_store_is_waited_for(store, valkey):
    store.write(FIRST, USERS, [b"A", b"B"])
    valkey.kill()
    found = []
    waiting = threading.Thread(target=lambda: found.append(store.read(SECOND, USERS)))
    waiting.start()
    time.sleep(0.5)
    assert found == []
    valkey.start()
    waiting.join(10)
    assert found == [[b"A", b"B"]]


def test_a_stop_ends_the_wait(valkey):
    stop = threading.Event()
    store = OnlineStore("redis://127.0.0.1:1/0", "stream", stop)
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(StoppedError):
        store.read(FIRST, USERS)


@pytest.mark.parametrize("login", ["", "fraud:wrong@", "reader:right@"])
def test_a_store_that_refuses_the_credentials_ends_the_job_with_a_sentence_that_hides_them(valkey, login):
    valkey.client.acl_setuser("reader", enabled=True, passwords=["+right"], commands=["+ping", "+mget"], keys=["*"])
    valkey.client.config_set("requirepass", "right")
    store = OnlineStore(valkey.url.replace("//", f"//{login}"), "stream", threading.Event())
    try:
        with pytest.raises(OperatorError, match=r"refuses the credentials .* FRAUD_STORE_URL") as refused:
            store.read(FIRST, USERS)
            store.write(FIRST, USERS, [b"A", b"B"])
        assert "wrong" not in str(refused.value)
    finally:
        valkey.client.config_set("requirepass", "")
        valkey.client.acl_deluser("reader")
