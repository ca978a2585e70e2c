"""A log as JSON Lines: appended to and never rewritten, by one process of this machine at a time."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Entry = dict[str, Any]
Append = Callable[[Entry], None]


class JsonLines:
    """The log in ``path``; without that file it is empty."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> list[Entry]:
        """Oldest first."""
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    @contextmanager
    def locked(self) -> Iterator[Append]:
        """A function that appends an entry, durable when it returns. Others who want to write wait for the block to
        end, so what the block reads stays true until it writes."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)

            def append(entry: Entry) -> None:
                # One write: a process that is killed leaves a complete line or none.
                file.write(json.dumps(entry).encode() + b"\n")
                os.fsync(file.fileno())

            yield append
