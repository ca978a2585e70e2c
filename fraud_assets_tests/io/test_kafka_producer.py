"""A producer of ours: where it puts a key, what it loses, what it says."""

import pytest
from kafka import KafkaProducer

from fraud_io.kafka_producer import make_producer
from fraud_io.kafka_reader import TopicReader

pytestmark = pytest.mark.streaming


def test_a_key_goes_where_other_clients_put_it_and_everything_arrives_in_order(broker):
    topic = broker.make_topic(5)
    producer = make_producer(broker.settings.confluent_kafka())
    sent = {f"user-{number}".encode(): [] for number in range(40)}
    for number in range(2_000):
        key = f"user-{number % 40}".encode()
        sent[key].append(str(number).encode())
        producer.produce(topic, sent[key][-1], key)
    assert producer.flush(30) == 0
    found = list(TopicReader(broker.settings).read(topic))
    assert {key: [message.value() for message in found if message.key() == key] for key in sent} == sent
    partitions = {message.key(): message.partition() for message in found}
    assert set(partitions.values()) == set(range(5))
    # Not ours: what another library does with a key is to be the same.
    other = KafkaProducer(**broker.settings.kafka_python())
    assert {key: other.send(topic, b"", key).get(30).partition for key in sent} == partitions
    other.close()


def test_a_producer_says_nothing_of_brokers_that_are_down(capfd):
    producer = make_producer({"bootstrap.servers": "127.0.0.1:1"})
    producer.produce("transactions", b"")
    assert producer.flush(1.0) == 1
    producer.purge()
    producer.flush(1.0)
    assert capfd.readouterr() == ("", "")
