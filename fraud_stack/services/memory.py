"""Peak memory of all processes of a stack together."""

import threading
from pathlib import Path

from fraud_stack.services.processes import memory_mib, stack_processes

_EVERY_S = 2.0


class MemoryPeak:
    """While entered, looks every two seconds; ``peak_mib`` is the highest sum seen."""

    def __init__(self, home: Path) -> None:
        self.peak_mib = 0.0
        self._home = home
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="memory", daemon=True)

    def __enter__(self) -> "MemoryPeak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self.peak_mib = max(self.peak_mib, memory_mib(stack_processes(self._home)))
