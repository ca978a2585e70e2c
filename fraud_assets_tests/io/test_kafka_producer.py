"""A producer of ours: where it puts a key, what it loses, what it says."""

import traceback

import pytest
from kafka import KafkaProducer

from fraud_core.settings import Settings
from fraud_io.errors import OperatorError
from fraud_io.kafka.admin import make_admin
from fraud_io.kafka.producer import make_producer
from fraud_io.kafka.reader import TopicReader

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
    other = KafkaProducer(bootstrap_servers=broker.settings.bootstrap_servers)
    assert {key: other.send(topic, b"", key).get(30).partition for key in sent} == partitions
    other.close()


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("no.such.setting=geheim", "no.such.setting"),
        ("ssl.keystore.type=geheim", "ssl.keystore.type"),  # Java's
        ("socket.timeout.ms=geheim", "socket.timeout.ms"),
        ("security.protocol=SSL\nlibrdkafka.ssl.certificate.location=/geheim.pem", "ssl.certificate.location"),
    ],
)
def test_a_setting_that_the_client_does_not_take_is_named_without_its_value(tmp_path, line, name):
    file = tmp_path / "kafka.properties"
    file.write_text(line)
    settings = Settings(kafka_client_file=file, kafka_bootstrap_servers="127.0.0.1:1")
    made = (
        lambda: make_producer(settings.confluent_kafka()),
        lambda: make_admin(settings),
        lambda: TopicReader(settings),
    )
    for make in made:
        with pytest.raises(OperatorError, match=rf"does not take {name}: .*FRAUD_KAFKA_CLIENT_FILE") as refused:
            make()
        assert "geheim" not in "".join(traceback.format_exception(refused.value))


def test_a_producer_says_nothing_of_brokers_that_are_down(capfd):
    producer = make_producer({"bootstrap.servers": "127.0.0.1:1"})
    producer.produce("transactions", b"")
    assert producer.flush(1.0) == 1
    producer.purge()
    producer.flush(1.0)
    assert capfd.readouterr() == ("", "")
