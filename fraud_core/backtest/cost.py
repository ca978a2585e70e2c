"""What each step of a backtest costs: wall and CPU seconds, worker processes included."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil


@dataclass
class Cost:
    """cpu_seconds, wall_seconds : by step."""

    cpu_seconds: dict[str, float] = field(default_factory=dict)
    wall_seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, step: str) -> Iterator[None]:
        began, cpu_began = time.monotonic(), _cpu_seconds()
        yield
        self.wall_seconds[step] = time.monotonic() - began
        self.cpu_seconds[step] = _cpu_seconds() - cpu_began


def _cpu_seconds() -> float:
    """Of this process and its children, running or ended."""
    own = os.times()
    living = 0.0
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        living += times.user + times.system
    return own.user + own.system + own.children_user + own.children_system + living
