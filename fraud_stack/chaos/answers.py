"""Watches the predictions for the first one about a transaction that arrived after a given moment."""

import threading

import orjson

from fraud_core.settings import Settings
from fraud_core.timestamps import parse_rfc3339_ms
from fraud_io.errors import OperatorError
from fraud_io.kafka.reader import Tail

_FIELD = b'"ingest_time":"'


class Answers:
    """A context manager: while entered, a thread reads the predictions from their present end on."""

    def __init__(self, settings: Settings) -> None:
        self._predictions = Tail(settings, settings.topics.predictions)
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._arrived_after_ms: int | None = None
        self._answered_ms: int | None = None
        self.count = 0
        self.model_version: str | None = None  # that decided last
        self.decided_from_ms: dict[str | None, int] = {}  # by version the record time of an early decision of it
        self._thread = threading.Thread(target=self._follow, name="answers", daemon=True)

    def __enter__(self) -> "Answers":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._predictions.close()

    def expect(self, arrived_after_ms: int) -> None:
        """Look for the prediction of a transaction whose record time is at least this, Unix time in ms."""
        with self._changed:
            self._arrived_after_ms, self._answered_ms = arrived_after_ms, None

    def wait(self, timeout_s: float) -> int | None:
        """Record time of that prediction, Unix time in ms; None when none came in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._answered_ms is not None, timeout_s)
            return self._answered_ms

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                messages = self._predictions.take(timeout_s=0.1)
            except OperatorError:
                # A broker that starts again: predictions come again when it is back, and that is what is measured.
                messages = []
            self.count += len(messages)
            if messages:
                self.model_version = orjson.loads(messages[-1].value() or b"")["model_version"]
                self.decided_from_ms.setdefault(self.model_version, messages[-1].timestamp()[1])
            with self._changed:
                if self._arrived_after_ms is None or self._answered_ms is not None:
                    continue
                for message in messages:
                    if _ingest_time_ms(message.value() or b"") >= self._arrived_after_ms:
                        self._answered_ms = message.timestamp()[1]
                        self._changed.notify_all()
                        break


def _ingest_time_ms(prediction: bytes) -> int:
    begin = prediction.index(_FIELD) + len(_FIELD)
    return parse_rfc3339_ms(prediction[begin : prediction.index(b'"', begin)].decode())
