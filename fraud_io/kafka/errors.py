"""What to do when Kafka says no, in one sentence. Knows errors by librdkafka's names for them, no client library."""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol, cast

from fraud_core.settings import Settings
from fraud_io.errors import OperatorError

# For clients whose user gets one sentence: librdkafka itself would tell twenty times a second that a broker is down.
QUIET = logging.getLogger("librdkafka")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False

NO_TOPIC = ("UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION")
NO_RIGHT = ("TOPIC_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED")

_LOGIN = "FRAUD_KAFKA_USERNAME, FRAUD_KAFKA_PASSWORD, FRAUD_KAFKA_SASL_MECHANISM and FRAUD_KAFKA_SECURITY_PROTOCOL"
_AT_THE_DOOR = {
    "_AUTHENTICATION": f"refuses the credentials: check {_LOGIN}",
    "_SSL": "shows a certificate that is not trusted, or does not take ours: set FRAUD_KAFKA_CA_FILE to the PEM file "
    "of the authority that signed the brokers, use a name or address that stands in their certificate, and where they "
    "ask for one give ours in the file of FRAUD_KAFKA_CLIENT_FILE",
}


class KafkaError(Protocol):
    """As confluent_kafka has it."""

    def name(self) -> str: ...
    def str(self) -> str: ...


@contextmanager
def settings_in_words() -> Iterator[None]:
    """Around the making of a client: OperatorError, without the value, when librdkafka does not take a setting."""
    try:
        yield
    except Exception as error:
        problem = cast(KafkaError, error.args[0] if error.args else None)
        if getattr(problem, "name", str)() != "_INVALID_ARG":
            raise
        # The name alone: a value may come in quotes as well.
        named = re.search(r'property:? "([\w.]+)"|((?:ssl|sasl)\.[\w.]+)', problem.str())
        raise OperatorError(
            f"Kafka's client librdkafka does not take {named[1] or named[2] if named else 'one of its settings'}: "
            "correct it in the file of FRAUD_KAFKA_CLIENT_FILE, where what is for Spark's Java client alone begins "
            "with java. (docs/operations.md), or in FRAUD_KAFKA_CA_FILE and the like"
        ) from None


class KafkaUnavailableError(OperatorError):
    """No broker lets us in or answers in time. Unlike other errors of an operator it may pass by itself."""


class KafkaRefusals:
    """Puts a client's errors into words. librdkafka tells why a broker refuses a connection on the side: ``note`` is
    the client's error_cb, and what a call then raises says only that no broker was reached."""

    def __init__(self, settings: Settings) -> None:
        self._at = f"Kafka at {settings.bootstrap_servers}"
        self._user = settings.kafka_username or "a client without a name"
        self._noted: str | None = None

    def note(self, error: KafkaError) -> None:
        if error.name() in _AT_THE_DOOR:
            self._noted = error.name()

    @property
    def at_the_door(self) -> str | None:
        """Why no broker lets this client in, when one has said so."""
        return f"{self._at} {_AT_THE_DOOR[self._noted]}" if self._noted else None

    def raised_by(self, error: KafkaError, topic: str) -> OperatorError:
        """What to raise when a call about a topic failed, or its records came with an error."""
        if error.name() in (*NO_RIGHT, *NO_TOPIC):
            return OperatorError(self.of_topic(topic, error))
        return KafkaUnavailableError(self.of_call(error))

    def of_call(self, error: KafkaError) -> str:
        """Why a call failed."""
        return self.at_the_door or (
            f"{self._at} does not answer ({error.str()}): start the stack with ./run up, or set "
            "FRAUD_KAFKA_BOOTSTRAP_SERVERS and the FRAUD_KAFKA_* credentials to those of your own brokers"
        )

    def of_topic(self, topic: str, error: KafkaError | None) -> str:
        """Why a topic cannot be used; None: it has no partitions."""
        if error is not None and error.name() in NO_RIGHT:
            return self.no_right(topic)
        return f"{self._at} has no topic {topic}: ./run up creates it"

    def of_silence(self, topic: str, position: Mapping[int, int], ends: Mapping[int, int], seconds: float) -> str:
        """Why reading a topic was given up. position, ends : where each partition is, and was to be read to."""
        left = ", ".join(f"partition {at} is read to {offset} of {ends[at]}" for at, offset in position.items())
        return f"{self._at} sent nothing of {topic} for {seconds:g} s ({left}): see ./run status"

    def no_right(self, topic: str) -> str:
        return (
            f"{self._at} does not let {self._user} use the topic {topic}: grant it the rights that "
            "docs/operations.md lists (Kafka with users and rights), or set FRAUD_KAFKA_USERNAME and "
            "FRAUD_KAFKA_PASSWORD to a user who has them"
        )
