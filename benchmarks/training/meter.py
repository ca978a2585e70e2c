"""What this process and its children cost: processor seconds and wall seconds of each step, and the memory peak."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self

import numpy as np
import psutil

EVERY_S = 0.1


@dataclass(frozen=True)
class Step:
    """cpu_s : user and system time, child processes included."""

    name: str
    cpu_s: float
    wall_s: float


class Meter:
    """Samples the process tree from its start on, until the block ends. Time between steps is a step of its own."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._began_s = self._process.create_time()
        self._samples = [(self._began_s, 0.0)]
        self._intervals: list[tuple[str, float, float]] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._lock = threading.Lock()
        self.peak_bytes = 0
        """Highest sum of the resident sets; a page that two processes share counts twice."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._sample()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self._sample()
        began_s = time.time()
        yield
        self.tell(name)
        self.add(name, began_s, time.time())

    def add(self, name: str, began_s: float, ended_s: float) -> None:
        """A step that lasted from one time.time() to another."""
        self._intervals.append((name, began_s, ended_s))

    def tell(self, name: str) -> None:
        """Print that a step has ended, and what was used until then: some take minutes."""
        self._sample()
        time_s, cpu_s = self._samples[-1]
        print(f"{time_s - self._began_s:8.1f} s {cpu_s:8.1f} CPU s  {name}", flush=True)

    def steps(self) -> list[Step]:
        """In order, then what lies outside of them: starting, imports, bookkeeping. Call it after the block."""
        times, used = np.array(self._samples).T
        # A child that ends between two readings would otherwise be missing for a moment.
        used = np.maximum.accumulate(used)
        steps = [
            Step(name, float(np.diff(np.interp((began_s, ended_s), times, used))[0]), ended_s - began_s)
            for name, began_s, ended_s in self._intervals
        ]
        cpu_s = float(used[-1]) - sum(step.cpu_s for step in steps)
        return [*steps, Step("start and rest", cpu_s, times[-1] - times[0] - sum(step.wall_s for step in steps))]

    def _watch(self) -> None:
        while not self._is_over.wait(EVERY_S):
            self._sample()

    def _sample(self) -> None:
        with self._lock:
            cpu_s, memory = 0.0, 0
            for process in (self._process, *self._process.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    # With the times of the children that have ended and been waited for.
                    cpu_s += sum(process.cpu_times()[:4])
                    memory += process.memory_info().rss
            self._samples.append((time.time(), cpu_s))
            self.peak_bytes = max(self.peak_bytes, memory)
