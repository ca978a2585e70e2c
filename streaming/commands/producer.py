"""Sends records to Kafka, each exactly once per call: what every source of transactions and labels goes through."""

from confluent_kafka import KafkaError, KafkaException, Message

from fraud_core.labels.known import encode_feedback
from fraud_core.payments.transaction import encode_transaction
from fraud_core.settings import Settings
from fraud_core.topics import TRANSACTIONS
from fraud_io.errors import OperatorError
from fraud_io.kafka.errors import NO_RIGHT, KafkaRefusals
from fraud_io.kafka.producer import make_producer

_REACHABLE_TIMEOUT_S = 10.0
_DELIVERY_TIMEOUT_S = 60


class RecordProducer:
    """A context manager; leaving it waits until everything is delivered. It is the edge: with FRAUD_PSEUDONYM_KEY set,
    no transaction leaves it with the id of a card or device.

    Raises OperatorError when the brokers cannot be reached, a topic is missing, or a record could not be delivered.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topics = settings.topics
        self._refusals = KafkaRefusals(settings)
        self._failed = 0
        self._reason = ""
        self._producer = make_producer(
            {
                **settings.confluent_kafka(),
                "error_cb": self._refusals.note,
                "linger.ms": 5,
                "delivery.timeout.ms": _DELIVERY_TIMEOUT_S * 1000,
                "queue.buffering.max.messages": 200_000,
                "queue.buffering.max.kbytes": 128 * 1024,
            }
        )

    def __enter__(self) -> "RecordProducer":
        for topic in (self._topics.transactions, self._topics.feedback):
            self._require(topic)
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def send_transaction(self, transaction: dict) -> None:
        """``transaction`` in the fields that ``encode_transaction`` takes."""
        if self._settings.pseudonyms:
            transaction = self._settings.pseudonyms.hide(transaction)
        self._send(self._topics.transactions, transaction[TRANSACTIONS.key], encode_transaction(transaction))

    def send_label(self, transaction_id: str, is_fraud: bool, source: str, label_time_ms: int) -> None:
        self._send(
            self._topics.feedback, transaction_id, encode_feedback(transaction_id, is_fraud, source, label_time_ms)
        )

    def poll(self) -> None:
        """Let delivery reports in; call now and then."""
        self._producer.poll(0)

    def flush(self) -> None:
        undelivered = self._producer.flush(_DELIVERY_TIMEOUT_S) + self._failed
        if undelivered:
            reason = self._refusals.at_the_door or self._reason or "check the brokers (./run status) and send again"
            raise OperatorError(f"{undelivered} records could not be delivered: {reason}")

    def _send(self, topic: str, key: str, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key.encode(), on_delivery=self._delivered)
                return
            except BufferError:
                self._producer.poll(0.5)  # the queue is full: wait for the brokers

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed += 1
            is_refused, topic = error.name() in NO_RIGHT, str(message.topic())
            self._reason = self._refusals.no_right(topic) if is_refused else self._refusals.of_call(error)

    def _require(self, topic: str) -> None:
        try:
            known = self._producer.list_topics(topic, timeout=_REACHABLE_TIMEOUT_S).topics[topic]
        except KafkaException as error:
            self._producer.poll(0)
            raise OperatorError(self._refusals.of_call(error.args[0])) from error
        if known.error is not None:
            raise OperatorError(self._refusals.of_topic(topic, known.error))
