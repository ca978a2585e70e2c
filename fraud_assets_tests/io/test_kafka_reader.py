"""What is read of a topic outside a consumer group, from a real broker: all of it, in order, or an error."""

from collections.abc import Callable

import pytest
from confluent_kafka import Message

from fraud_core.settings import Settings
from fraud_io.errors import OperatorError
from fraud_io.kafka.errors import KafkaUnavailableError
from fraud_io.kafka.producer import make_producer
from fraud_io.kafka.reader import Ranges, Tail, TopicReader

pytestmark = pytest.mark.streaming

NOBODY = Settings(kafka_bootstrap_servers="127.0.0.1:1")


@pytest.fixture
def reader(broker) -> TopicReader:
    return TopicReader(broker.settings)


def send(broker, topic: str, values: range, partition: int = 0, time_ms: Callable[[int], int] = lambda _: 0) -> None:
    producer = make_producer(broker.settings.confluent_kafka())
    for value in values:
        producer.produce(topic, str(value), partition=partition, timestamp=time_ms(value))
    assert producer.flush(30) == 0


def send_in_transactions(broker, topic: str, *transactions: tuple[range, bool]) -> None:
    """Values of each transaction, and whether it is committed; to partition 0."""
    producer = make_producer({**broker.settings.confluent_kafka(), "transactional.id": topic})
    producer.init_transactions(30)
    for values, is_committed in transactions:
        producer.begin_transaction()
        for value in values:
            producer.produce(topic, str(value), partition=0)
        # Flushed, so that also what is aborted takes offsets.
        assert producer.flush(30) == 0
        producer.commit_transaction(30) if is_committed else producer.abort_transaction(30)


def values(messages: list[Message], partition: int = 0) -> list[int]:
    return [int(message.value()) for message in messages if message.partition() == partition]


def test_all_partitions_are_read_to_their_present_end_in_order(broker, reader):
    topic = broker.make_topic(3)
    send(broker, topic, range(30_000))
    send(broker, topic, range(5), partition=2)
    assert reader.bounds(topic) == {0: (0, 30_000), 1: (0, 0), 2: (0, 5)}
    found = list(reader.read(topic))
    assert values(found) == list(range(30_000))
    assert (values(found, 1), values(found, 2)) == ([], list(range(5)))


def test_a_range_is_read_to_the_record_and_only_where_the_topic_has_it(broker, reader):
    topic = broker.make_topic(2)
    send(broker, topic, range(100))
    send(broker, topic, range(100), partition=1)
    found = list(reader.read(topic, {0: (10, 20), 1: (95, 10**9), 7: (0, 5)}))
    assert (values(found), values(found, 1)) == (list(range(10, 20)), list(range(95, 100)))
    assert len(found) == 15
    assert list(reader.read(topic, {0: (50, 50), 1: (200, 300)})) == []
    assert reader.beyond(topic, {0: 60}) == {0: (60, 100), 1: (0, 100)}


def test_what_retention_has_removed_is_passed_over(broker, reader):
    topic = broker.make_topic(2)
    send(broker, topic, range(100))
    broker.remove_records(topic, 0, before=40)
    assert reader.bounds(topic)[0] == (40, 100)
    assert reader.beyond(topic, {0: 3})[0] == (40, 100)
    assert values(reader.read(topic, {0: (30, 60)})) == list(range(40, 60))
    assert list(reader.read(topic, {0: (0, 40)})) == []


class Overtaken(TopicReader):
    """Something happens between asking for the bounds of a topic and reading it."""

    def __init__(self, settings: Settings, happens: Callable[[], None], timeout_s: float = 15.0) -> None:
        super().__init__(settings, timeout_s)
        self._happens = happens

    def bounds(self, topic: str) -> Ranges:
        found = super().bounds(topic)
        self._happens()
        return found


def test_a_reader_that_retention_overtakes_goes_on_with_what_is_left(broker):
    topic = broker.make_topic(2)
    send(broker, topic, range(100))
    reader = Overtaken(broker.settings, lambda: broker.remove_records(topic, 0, before=40))
    assert values(reader.read(topic)) == list(range(40, 100))


def test_offsets_without_a_record_end_no_reading_and_are_not_waited_for(broker, reader):
    topic = broker.make_topic(2)
    send_in_transactions(broker, topic, (range(5), True), (range(5, 8), False), (range(8, 10), True), (range(9), False))
    # 19 records and 4 markers.
    assert reader.bounds(topic)[0] == (0, 23)
    assert values(reader.read(topic)) == [0, 1, 2, 3, 4, 8, 9]
    marker, aborted, at_the_end = (5, 6), (6, 10), (13, 23)
    for nothing in (marker, aborted, at_the_end):
        assert list(reader.read(topic, {0: nothing})) == []
    assert values(reader.read(topic, {0: (4, 11)})) == [4, 8]


def test_a_topic_ends_for_readers_where_the_first_open_transaction_begins(broker, reader):
    topic = broker.make_topic(1)
    send(broker, topic, range(3))
    producer = make_producer({**broker.settings.confluent_kafka(), "transactional.id": topic})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, "3", partition=0)
    assert producer.flush(30) == 0
    send(broker, topic, range(4, 6))
    assert reader.bounds(topic) == {0: (0, 3)}
    assert values(reader.read(topic)) == [0, 1, 2]
    with Tail(broker.settings, topic) as tail:
        assert tail.take(timeout_s=0.5) == []
        producer.commit_transaction(30)
        found: list[Message] = []
        while len(found) < 3:
            found += tail.take(timeout_s=0.2)
        assert values(found) == [3, 4, 5]
    assert reader.bounds(topic) == {0: (0, 7)}
    assert values(reader.read(topic)) == list(range(6))


def test_the_records_since_a_time(broker, reader):
    topic = broker.make_topic(3)
    send(broker, topic, range(10), time_ms=lambda value: 1_000_000 + 1_000 * value)
    send(broker, topic, range(4), partition=1, time_ms=lambda _: 1_000)
    assert reader.since(topic, 1_004_500) == {0: (5, 10), 1: (4, 4), 2: (0, 0)}
    assert values(reader.read(topic, reader.since(topic, 1_004_500))) == [5, 6, 7, 8, 9]
    assert reader.since(topic, 1) == {0: (0, 10), 1: (0, 4), 2: (0, 0)}


def test_a_tail_gives_what_comes_after_it_was_made_and_nothing_else(broker):
    one, other = broker.make_topic(2), broker.make_topic(2)
    send(broker, one, range(10))
    with Tail(broker.settings, one, other) as tail:
        send(broker, one, range(10, 20))
        send(broker, other, range(3), partition=1)
        found = []
        while len(found) < 13:
            found += tail.take(timeout_s=0.2)
        assert values([message for message in found if message.topic() == one]) == list(range(10, 20))
        assert values([message for message in found if message.topic() == other], 1) == [0, 1, 2]
        assert tail.take(timeout_s=0.2) == []


def test_a_partition_that_stops_answering_before_its_end_is_an_error_that_names_it(broker):
    topic = broker.make_topic(2)
    send(broker, topic, range(10), partition=1)
    with broker.standing_still() as stop:
        reading = Overtaken(broker.settings, stop, timeout_s=1.0).read(topic)
        with pytest.raises(
            KafkaUnavailableError, match=rf"sent nothing of {topic} for 1 s \(partition 1 is read to 0 of 10\)"
        ):
            list(reading)


def test_a_caller_may_stop_waiting_for_a_broker(broker):
    topic = broker.make_topic(2)
    send(broker, topic, range(10))
    with broker.standing_still() as stop:
        assert next(Overtaken(broker.settings, stop, timeout_s=60.0).batches(topic)) == []


def test_a_reader_that_its_caller_leaves_for_a_while_has_not_waited(broker):
    topic = broker.make_topic(2)
    send(broker, topic, range(30_000))
    reading = TopicReader(broker.settings, timeout_s=0.5).batches(topic)
    found = next(batch for batch in reading if batch)
    with broker.standing_still() as stop:
        stop()
        assert next(reading) is not None
    found += [message for batch in reading for message in batch]
    assert values(found) == list(range(len(found)))


@pytest.mark.parametrize(
    "reads",
    [
        lambda settings: TopicReader(settings).bounds("missing"),
        lambda settings: list(TopicReader(settings).read("missing")),
        lambda settings: Tail(settings, "missing"),
    ],
)
def test_a_topic_that_is_missing_is_named_with_what_to_do(broker, reads):
    with pytest.raises(OperatorError, match=r"has no topic missing: ./run up creates it") as raised:
        reads(broker.settings)
    assert not isinstance(raised.value, KafkaUnavailableError)


@pytest.mark.parametrize(
    "reads",
    [
        lambda: TopicReader(NOBODY, timeout_s=1.0).bounds("transactions"),
        lambda: TopicReader(NOBODY, timeout_s=1.0).since("transactions", 0),
        lambda: list(TopicReader(NOBODY, timeout_s=1.0).read("transactions")),
        lambda: Tail(NOBODY, "transactions", timeout_s=1.0),
    ],
)
def test_of_brokers_that_are_down_a_reader_says_one_sentence_and_nothing_else(reads, capfd):
    with pytest.raises(KafkaUnavailableError, match=r"Kafka at 127.0.0.1:1 does not answer .*: start the stack"):
        reads()
    assert capfd.readouterr() == ("", "")
