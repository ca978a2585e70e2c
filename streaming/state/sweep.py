"""Forgets the histories of cards that have long gone silent, so that the store does not grow for ever.

A history is over when its last payment arrived more than FORGET_AFTER_MS before now, by the brokers' clock, and was
made so long before the newest payment of the partition: a replayed or simulated stream has a clock of its own. No
payment sees a bit of it then but one that comes more than 32 days late, for a card silent for two months.
"""

import logging
import threading

from fraud_core.features.history import FORGET_AFTER_MS, NEVER_MS, last_arrival
from fraud_core.settings import Settings
from fraud_core.timestamps import now_ms
from fraud_io.errors import OperatorError
from fraud_io.kafka.reader import TopicReader
from streaming import metrics
from streaming.errors import StoppedError
from streaming.state.checkpoint import Checkpoint
from streaming.state.online_store import OnlineStore

log = logging.getLogger(__name__)

_PASS_S = 3600.0
_STEP_S = 1.0  # between two looks at some hundred histories: nothing that the stream would feel


class Sweep:
    """Goes over the histories of a stream's partitions again and again."""

    def __init__(self, settings: Settings, checkpoint: Checkpoint, store: OnlineStore) -> None:
        self._reader = TopicReader(settings)
        self._checkpoint = checkpoint
        self._store = store
        self._newest_ms: dict[int, int] = {}  # by partition, the newest event time that a pass has seen

    def start(self, stop: threading.Event) -> None:
        threading.Thread(target=self._follow, args=(stop,), name="sweep", daemon=True).start()

    def run(self, stop: threading.Event, step_s: float = _STEP_S) -> int:
        """One pass; how many histories were forgotten. The first one only learns how new the newest payments are.

        Raises StoppedError when ``stop`` is set, and OperatorError when the topic cannot be asked.
        """
        forgotten = 0
        came = self._reader.since(self._checkpoint.topic, now_ms() - FORGET_AFTER_MS)
        for partition in self._checkpoint.begins():
            forgotten += self._partition(partition, came[partition][0], stop, step_s)
        return forgotten

    def _partition(self, partition: int, first_offset: int, stop: threading.Event, step_s: float) -> int:
        """first_offset : of what arrived lately."""
        made_ms = self._newest_ms.get(partition, NEVER_MS) - FORGET_AFTER_MS
        newest_ms, cursor, forgotten = NEVER_MS, 0, 0

        def is_over(blob: bytes) -> bool:
            nonlocal newest_ms
            offset, last_ms = last_arrival(blob)
            newest_ms = max(newest_ms, last_ms)
            return offset < first_offset and last_ms < made_ms

        while True:
            cursor, removed = self._store.sweep(partition, cursor, is_over)
            metrics.FORGOTTEN.inc(removed)
            forgotten += removed
            if cursor == 0:
                self._newest_ms[partition] = max(newest_ms, self._newest_ms.get(partition, NEVER_MS))
                return forgotten
            if stop.wait(step_s):
                raise StoppedError("stopped between two histories")

    def _follow(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                if forgotten := self.run(stop):
                    log.info("%d histories of cards that have long been silent are forgotten", forgotten)
            except StoppedError:
                return
            except (OperatorError, OSError, ValueError) as error:
                log.warning("no histories are forgotten: %s", error)
            stop.wait(_PASS_S)
