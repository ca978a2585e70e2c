"""How many records of each partition are not scored yet, from the checkpoint and the broker."""

import logging
import threading

from fraud_core.settings import Settings
from fraud_io.errors import OperatorError
from fraud_io.kafka.reader import TopicReader
from streaming import metrics
from streaming.state.checkpoint import Checkpoint

log = logging.getLogger(__name__)

_EVERY_S = 2.0
_TIMEOUT_S = 5.0


class LagReporter:
    """Sets metrics.LAG every few seconds; a broker that does not answer leaves the last values."""

    def __init__(self, settings: Settings, checkpoint: Checkpoint, mine: frozenset[int] | None) -> None:
        """mine : the partitions to look at; None for all."""
        self._mine = mine
        self._reader = TopicReader(settings, _TIMEOUT_S)
        self._checkpoint = checkpoint

    def start(self, stop: threading.Event) -> None:
        threading.Thread(target=self._follow, args=(stop,), name="lag", daemon=True).start()

    def look(self) -> None:
        begins = self._checkpoint.begins()
        for partition, (low, high) in self._reader.bounds(self._checkpoint.topic).items():
            if self._mine is None or partition in self._mine:
                metrics.LAG.labels(partition).set(high - begins.get(partition, low))

    def _follow(self, stop: threading.Event) -> None:
        while not stop.wait(_EVERY_S):
            try:
                self.look()
            except (OperatorError, OSError) as error:
                log.warning("the lag is not known: %s", error)
