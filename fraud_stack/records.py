"""Reading topics from outside any consumer group: nothing is committed, nobody is rebalanced."""

from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from fraud_core.settings import Settings
from fraud_stack.errors import UserError

_TIMEOUT_S = 15.0


def consumer(settings: Settings) -> Consumer:
    # librdkafka wants a group name even from one that neither subscribes nor commits.
    return Consumer({**settings.confluent_kafka(), "group.id": "fraud-observer", "enable.auto.commit": False})


def end_offsets(settings: Settings, topic: str) -> dict[int, tuple[int, int]]:
    """First and end offset of each partition. Raises UserError when the broker does not answer or lacks the topic."""
    reader = consumer(settings)
    try:
        return _end_offsets(reader, topic)
    except KafkaException as error:
        raise UserError(
            f"Kafka at {settings.bootstrap_servers} does not answer ({error.args[0].str()}): start the stack with "
            "./run up, or set FRAUD_KAFKA_BOOTSTRAP_SERVERS to your own brokers"
        ) from error
    finally:
        reader.close()


def _end_offsets(reader: Consumer, topic: str) -> dict[int, tuple[int, int]]:
    metadata = reader.list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
    if metadata.error is not None:
        raise UserError(f"Kafka has no topic {topic}: ./run up creates the topics")
    offsets = {}
    for partition in metadata.partitions:
        offsets[partition] = reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=_TIMEOUT_S)
    return offsets


def read(settings: Settings, topic: str) -> Iterator[Message]:
    """Every record of a topic from its beginning to its present end."""
    reader = consumer(settings)
    try:
        ranges = {at: (start, end) for at, (start, end) in _end_offsets(reader, topic).items() if end > start}
        remaining = {at: end for at, (_, end) in ranges.items()}
        reader.assign([TopicPartition(topic, at, start) for at, (start, _) in ranges.items()])
        while remaining:
            for message in reader.consume(10_000, timeout=1.0):
                if message.error():
                    raise KafkaException(message.error())
                end = remaining.get(message.partition())
                if end is None or message.offset() >= end:
                    continue
                if message.offset() == end - 1:
                    del remaining[message.partition()]
                yield message
    finally:
        reader.close()
