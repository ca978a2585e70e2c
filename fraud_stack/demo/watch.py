"""Watches the live stream: rate, latency, alerts with their reasons, and how right they were as labels arrive.

Reads predictions and labels only. An alert is a true positive once its transaction is labelled fraud, and a false one
when it is labelled genuine or the label delay passed in silence, which also counts as genuine.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import orjson

from fraud_core.settings import Settings
from fraud_core.timestamps import parse_rfc3339_ms
from fraud_io.kafka.reader import Record, Tail
from fraud_io.schema_registry.predictions import as_json

_RATE_WINDOW_S = 5.0
_LONGEST_LATENCY_MS = 60_000
_SHOWN_ALERTS = 8
_REMEMBERED = 1_000_000


@dataclass
class LiveView:
    """What is known about the stream since the first prediction by a model. Bounded in memory, however long it runs.

    as_json : reads a record's value, as schema_registry.predictions has it.
    """

    label_delay_s: float
    as_json: Callable[[bytes | None], bytes] = lambda value: value or b""
    first_at: float | None = None
    predictions: int = 0
    alerts: int = 0
    model_version: str | None = None
    recent_alerts: deque[dict] = field(default_factory=lambda: deque(maxlen=_SHOWN_ALERTS))
    _latencies: np.ndarray = field(default_factory=lambda: np.zeros(_LONGEST_LATENCY_MS + 1, np.int64))
    _arrivals: deque[tuple[float, int]] = field(default_factory=deque)
    _was_flagged: dict[str, bool] = field(default_factory=dict)
    _open_alerts: deque[tuple[float, str]] = field(default_factory=deque)
    _caught: set[str] = field(default_factory=set)
    _missed: set[str] = field(default_factory=set)
    _false: set[str] = field(default_factory=set)

    def add_predictions(self, messages: list[Record], now: float) -> None:
        count = 0
        for message in messages:
            prediction = orjson.loads(self.as_json(message.value()))
            if prediction["model_version"] is None:
                continue
            count += 1
            if self.first_at is None:
                self.first_at = now
            self.model_version = prediction["model_version"]
            latency_ms = message.timestamp()[1] - parse_rfc3339_ms(prediction["ingest_time"])
            self._latencies[min(max(latency_ms, 0), _LONGEST_LATENCY_MS)] += 1
            is_flagged = prediction["prediction"] == 1
            self._was_flagged[prediction["transaction_id"]] = is_flagged
            if is_flagged:
                self.alerts += 1
                self.recent_alerts.append(prediction)
                self._open_alerts.append((now, prediction["transaction_id"]))
        self.predictions += count
        self._arrivals.append((now, count))
        while self._arrivals and self._arrivals[0][0] < now - _RATE_WINDOW_S:
            self._arrivals.popleft()
        while len(self._was_flagged) > _REMEMBERED:
            del self._was_flagged[next(iter(self._was_flagged))]

    def add_labels(self, messages: list[Record]) -> None:
        for message in messages:
            label = orjson.loads(self.as_json(message.value()))
            name = label["transaction_id"]
            was_flagged = self._was_flagged.get(name)
            if was_flagged is None:
                continue
            # The last label wins: a verdict may be corrected later.
            for known in (self._caught, self._missed, self._false):
                known.discard(name)
            if label["is_fraud"]:
                (self._caught if was_flagged else self._missed).add(name)
            elif was_flagged:
                self._false.add(name)

    def mature(self, now: float) -> None:
        """Let alerts that waited out the label delay without a fraud label count as false."""
        while self._open_alerts and self._open_alerts[0][0] < now - self.label_delay_s:
            _, name = self._open_alerts.popleft()
            if name not in self._caught:
                self._false.add(name)

    def per_second(self, now: float) -> float:
        if self.first_at is None:
            return 0.0
        return sum(count for _, count in self._arrivals) / max(min(_RATE_WINDOW_S, now - self.first_at), 1.0)

    def latency_ms(self) -> dict[str, int | None]:
        """p50, p95 and p99 in milliseconds, from record time of the transaction to record time of the prediction."""
        below = np.cumsum(self._latencies)
        if below[-1] == 0:
            return {"p50": None, "p95": None, "p99": None}
        return {f"p{share}": int(np.searchsorted(below, below[-1] * share / 100)) for share in (50, 95, 99)}

    @property
    def labelled(self) -> dict[str, int]:
        """Alerts labelled fraud, alerts that turned out false, frauds that were not flagged."""
        return {"caught": len(self._caught), "false_alerts": len(self._false), "missed": len(self._missed)}

    @property
    def precision(self) -> float | None:
        """None until there is an alert whose truth is known."""
        known = len(self._caught) + len(self._false)
        return len(self._caught) / known if known else None

    @property
    def recall(self) -> float | None:
        known = len(self._caught) + len(self._missed)
        return len(self._caught) / known if known else None


class Watcher(Tail):
    """Feeds a LiveView from Kafka, from the present end of the topics on. It changes only in ``look``."""

    def __init__(self, settings: Settings, label_delay_s: float) -> None:
        self._topics = settings.topics
        super().__init__(settings, self._topics.predictions, self._topics.feedback)
        self.view = LiveView(label_delay_s, as_json(settings))

    def look(self, timeout_s: float) -> LiveView:
        """Take in what comes within ``timeout_s``. Raises OperatorError when the topics cannot be read."""
        messages = self.take(timeout_s)
        now = time.monotonic()
        self.view.add_predictions([m for m in messages if m.topic() == self._topics.predictions], now)
        self.view.add_labels([m for m in messages if m.topic() == self._topics.feedback])
        self.view.mature(now)
        return self.view
