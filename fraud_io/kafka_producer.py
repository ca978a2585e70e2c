"""The one way this package makes a Kafka producer: idempotent, acknowledged by all replicas."""

import logging

from confluent_kafka import Producer

_COMMON = {
    "enable.idempotence": True,
    "acks": "all",
    "compression.type": "lz4",
    # As Java and kafka-python do it. librdkafka's own default would put a user into another partition than they do, and
    # a user's transactions are in order only within one.
    "partitioner": "murmur2_random",
}


def make_producer(options: dict[str, object], log: logging.Logger) -> Producer:
    """``options``: librdkafka's, where the brokers are among them (Settings.confluent_kafka)."""
    return Producer({**_COMMON, **options}, logger=log)
