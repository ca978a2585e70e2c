"""Counts how much of a new kind of fraud each model version finds, while the simulator lets it loose."""

from collections import Counter

import orjson

from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS, parse_rfc3339_ms
from fraud_io.kafka.reader import Tail
from fraud_io.schema_registry.predictions import as_json
from fraud_io.simulation_folder import SimulationFolder


class NewFraudWatch(Tail):
    """Reads predictions from the present end on. A version counts whether it decides or only scores beside.

    seen, found : by model version, transactions of the new kind and how many of them it flagged.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, settings.topics.predictions)
        self._as_json = as_json(settings)
        self.seen: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        self.decided: Counter[str] = Counter()  # transactions of the new kind, by the version that decided
        self.day = 0  # of the stream's clock, since 1970
        self._file = SimulationFolder(settings.home).new_fraud
        self._known: set[bytes] = set()
        self._position = 0

    def look(self, timeout_s: float) -> None:
        """Take in what comes within ``timeout_s``. Raises OperatorError when the topic cannot be read."""
        messages = self.take(timeout_s)
        self._read_ids()
        for message in messages:
            value = self._as_json(message.value())
            # The id comes first; of thousands only a few are worth parsing.
            if value[19 : value.index(b'"', 19)] in self._known:
                self._count(orjson.loads(value))
        if messages:
            event_time = parse_rfc3339_ms(orjson.loads(self._as_json(messages[-1].value()))["event_time"])
            self.day = max(self.day, event_time // DAY_MS)

    def recall(self, version: str) -> float | None:
        return self.found[version] / self.seen[version] if self.seen[version] else None

    def _count(self, prediction: dict) -> None:
        self.decided[prediction["model_version"]] += 1
        for shadow in ("", "shadow_"):
            version = prediction[f"{shadow}model_version"]
            if version is not None:
                self.seen[version] += 1
                self.found[version] += prediction[f"{shadow}prediction"]

    def _read_ids(self) -> None:
        if self._file.exists():
            with self._file.open("rb") as lines:
                lines.seek(self._position)
                self._known.update(lines.read().split())
                self._position = lines.tell()
