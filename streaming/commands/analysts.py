"""Simulated analysts: they look into every alert and the review sample, and about a day later say what it was."""

from collections import deque

import orjson

from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS
from fraud_io.kafka.reader import Tail
from fraud_io.schema_registry.predictions import as_json

_TAKES_MS = DAY_MS


class Analysts:
    """Reads predictions from the present end on, outside any consumer group."""

    def __init__(self, settings: Settings) -> None:
        self._predictions = Tail(settings, settings.topics.predictions)
        self._read = as_json(settings)
        self._open: deque[tuple[int, str]] = deque()

    def verdicts(self, now_ms: int) -> list[str]:
        """Transactions that have been looked into by ``now_ms``, on the stream's clock; each once."""
        for message in self._predictions.take(timeout_s=0):
            value = self._read(message.value())
            if is_looked_into(value):
                self._open.append((now_ms + _TAKES_MS, orjson.loads(value)["transaction_id"]))
        done = []
        while self._open and self._open[0][0] <= now_ms:
            done.append(self._open.popleft()[1])
        return done

    def close(self) -> None:
        self._predictions.close()


def is_looked_into(prediction: bytes) -> bool:
    """Whether a message of the topic is an alert or in the review sample."""
    return b'"prediction":1' in prediction or b'"review_sample":true' in prediction
