"""The one way to make a Kafka producer: idempotent, acknowledged by all replicas."""

import logging
from collections.abc import Mapping

from confluent_kafka import Producer

from fraud_io.kafka.errors import QUIET, settings_in_words

_COMMON = {
    "enable.idempotence": True,
    "acks": "all",
    "compression.type": "lz4",
    # As Java and kafka-python do it. librdkafka's own default would put a user into another partition than they do, and
    # a user's transactions are in order only within one.
    "partitioner": "murmur2_random",
}


def make_producer(options: Mapping[str, object], log: logging.Logger = QUIET) -> Producer:
    """``options``: librdkafka's, where the brokers are among them (Settings.confluent_kafka). ``log``: who is told of
    brokers that are down; nobody unless asked."""
    with settings_in_words():
        return Producer({**_COMMON, **options}, logger=log)
