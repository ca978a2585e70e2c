"""Named points at which a chaos test lets the job die. Without the setting ``failpoints`` they do nothing.

A point is armed by a file of its name in that folder. Whoever reaches it removes the file and is gone, as by kill -9: a
point kills once, so the next run of the job gets past it.
"""

import os
import signal
from pathlib import Path
from typing import Literal

Point = Literal[
    "after_sink",  # the micro-batch is acknowledged by Kafka, Spark has not committed it
    "before_model_load",  # the registry has named a version, it is not fetched yet
]

_state: dict[str, Path | None] = {"folder": None}


def use(folder: Path | None) -> None:
    """Look for armed points in ``folder`` from now on; None: there are none."""
    _state["folder"] = folder


def reach(point: Point) -> None:
    """Die here when the point is armed."""
    folder = _state["folder"]
    if folder is None:
        return
    try:
        (folder / point).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
