"""The promotion log: JSON Lines, appended to and never rewritten. Every move of a version between stages is a line."""

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fraud_core.settings import Settings

Write = Callable[[dict], None]


def promotion_log(settings: Settings) -> Path:
    """at, who, model, version, from, to, why, evidence (numbers by name)."""
    return settings.lake / "promotions.jsonl"


@contextmanager
def writing(log: Path) -> Iterator[Write]:
    """A function that appends an entry. Only one process of this machine is in such a block at a time: two that move
    versions at once could leave two of them in one stage."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield lambda entry: _append(file, entry)


def _append(file, entry: dict) -> None:
    # One write: a process that is killed leaves a complete line or none.
    file.write(json.dumps(entry).encode() + b"\n")
