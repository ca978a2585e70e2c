"""The online store: where histories lie, and what happens when they are not those the stream needs."""

import threading
import time

import pytest

from fraud_assets_tests.services import wait_until
from fraud_core.features.history import FORMAT
from fraud_io.errors import OperatorError
from streaming import metrics
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


def test_histories_of_a_partition_and_how_far_they_go_are_one_key_whatever_the_users_are_called(store, valkey):
    store.write({3: OffsetRange(0, 0, 1)}, {3: ["a", "position", ""]}, [b"A", b"P", b"E"])
    assert valkey.contents() == {
        b"histories:{3}": {b"position": f"stream 1 {FORMAT}".encode(), b":a": b"A", b":position": b"P", b":": b"E"}
    }
    assert store.read({3: OffsetRange(0, 1, 2)}, {3: ["position", "", "a"]}) == [b"P", b"E", b"A"]


def test_a_full_store_that_makes_room_takes_whole_partitions_and_no_lost_card_passes_for_a_new_one(store, valkey):
    """Histories are evicted one partition at a time: each is complete, or noticed."""
    everything = {partition: OffsetRange(0, 0, 10) for partition in range(20)}
    users = {partition: [f"u{n}" for n in range(50)] for partition in everything}
    store.write(everything, users, [bytes(2000)] * 1000)
    used = valkey.client.info("memory")["used_memory"]
    try:
        valkey.client.config_set("maxmemory-policy", "allkeys-random")
        valkey.client.config_set("maxmemory", used - 500_000)
        valkey.client.set("one", "more")
    finally:
        valkey.client.config_set("maxmemory", 0)
        valkey.client.config_set("maxmemory-policy", "noeviction")
    assert valkey.client.info("stats")["evicted_keys"] > 0
    complete = lost = 0
    for partition in everything:
        covered = {partition: OffsetRange(0, 10, 20)}
        try:
            assert store.read(covered, {partition: users[partition]}) == [bytes(2000)] * 50
            complete += 1
        except HistoriesLostError as error:
            assert error.partition == partition
            lost += 1
    assert complete > 0
    assert lost > 0


def test_a_full_store_is_told_from_one_that_does_not_answer_and_waited_for(store, valkey, caplog):
    store.write(FIRST, USERS, [b"A", b"B"])
    full = metrics.STORE_CALLS.labels("full")
    before = full._value.get()
    valkey.client.config_set("maxmemory", 1)
    try:
        writing = threading.Thread(target=store.write, args=(SECOND, USERS, [b"AA", b"BB"]))
        writing.start()
        wait_until(lambda: "raise its maxmemory" in caplog.text, "the store is not said to be full")
        assert "waiting for the online store" not in caplog.text
        assert store.read(SECOND, USERS) == [b"A", b"B"]
    finally:
        valkey.client.config_set("maxmemory", 0)
    writing.join(10)
    assert full._value.get() > before
    assert store.read(SECOND, USERS) == [b"AA", b"BB"]


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
def test_a_store_that_would_evict_histories_is_refused(store, valkey, policy):
    valkey.client.config_set("maxmemory-policy", policy)
    try:
        with pytest.raises(OperatorError, match=rf"maxmemory-policy {policy}: .* Set it to noeviction"):
            store.check_policy()
    finally:
        valkey.client.config_set("maxmemory-policy", "noeviction")


@pytest.mark.parametrize("policy", ["noeviction", "volatile-lru", "volatile-ttl"])
def test_a_store_that_evicts_nothing_without_an_expiry_is_taken(store, valkey, caplog, policy):
    valkey.client.config_set("maxmemory-policy", policy)
    try:
        store.check_policy()
    finally:
        valkey.client.config_set("maxmemory-policy", "noeviction")
    assert caplog.text == ""


def test_a_store_that_does_not_tell_its_policy_is_warned_of(valkey, caplog):
    valkey.client.acl_setuser("job", enabled=True, passwords=["+right"], commands=["+@all", "-info"], keys=["*"])
    try:
        OnlineStore(valkey.url.replace("//", "//job:right@"), "stream", threading.Event()).check_policy()
    finally:
        valkey.client.acl_deluser("job")
    assert "does not tell its maxmemory-policy" in caplog.text


def sweep(store, partition, is_over) -> int:
    cursor, removed = store.sweep(partition, 0, is_over)
    while cursor:
        cursor, more = store.sweep(partition, cursor, is_over)
        removed += more
    return removed


def test_a_sweep_sees_every_history_and_removes_what_is_over_also_from_a_full_store(store, valkey):
    users = {0: [f"u{n}" for n in range(3000)], 1: ["other"]}
    blobs = [b"%d" % n + bytes(100) for n in range(3001)]
    both = {0: OffsetRange(0, 0, 10), 1: OffsetRange(0, 0, 10)}
    store.write(both, users, blobs)
    seen = set()
    valkey.client.config_set("maxmemory", 1)
    try:
        assert sweep(store, 0, lambda blob: seen.add(blob) or blob.startswith(b"7")) == 111
    finally:
        valkey.client.config_set("maxmemory", 0)
    assert seen == set(blobs[:3000])
    left = store.read({0: OffsetRange(0, 10, 20)}, {0: users[0]})
    assert left == [None if blob.startswith(b"7") else blob for blob in blobs[:3000]]
    assert store.read({1: OffsetRange(0, 10, 20)}, {1: ["other"]}) == [blobs[3000]]


def test_a_history_that_is_written_while_it_is_looked_at_is_looked_at_again(store, valkey):
    store.write(FIRST, USERS, [b"old", b"old"])
    looks = []

    def is_over(blob: bytes) -> bool:
        looks.append(blob)
        if len(looks) == 1:
            OnlineStore(valkey.url, "stream", threading.Event()).write(SECOND, {0: ["a"]}, [b"new"])
        return blob == b"old"

    assert sweep(store, 0, is_over) == 1
    assert sorted(looks[2:]) == [b"new", b"old"]
    assert store.read({0: OffsetRange(0, 20, 30)}, USERS) == [b"new", None]


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
    valkey.client.hset("histories:{0}", "position", found)
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
    assert set(valkey.contents()) == {b"histories:{1}"}


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
    valkey.client.acl_setuser("reader", enabled=True, passwords=["+right"], commands=["+ping", "+hmget"], keys=["*"])
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
