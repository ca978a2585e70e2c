"""What the job reads from Spark's checkpoint folder, and the lock that keeps a second job away from it.

Spark writes the folder; only the file ``offsets/<batch id>`` (where a micro-batch ends, written before it runs) and
``commits/<batch id>`` (written after it ended) are read here.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from streaming.errors import OperatorError


@dataclass(frozen=True)
class OffsetRange:
    """Offsets [start, end) of one partition in one micro-batch. ``initial`` is where the stream itself began."""

    initial: int
    start: int
    end: int


@dataclass(frozen=True)
class Checkpoint:
    folder: Path
    topic: str

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the checkpoint for this process. Raises OperatorError when another process holds it."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with self.folder.with_name(self.folder.name + ".lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise OperatorError(
                    f"another streaming job (process {lock.read().strip() or 'unknown'}) uses the checkpoint "
                    f"{self.folder}: stop it first, or give this one a folder of its own with FRAUD_HOME"
                ) from None
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            yield

    @property
    def query_id(self) -> str:
        """Identity of the stream that this checkpoint belongs to; a new checkpoint is another stream."""
        return json.loads((self.folder / "metadata").read_text())["id"]

    def replayed_batch(self) -> int | None:
        """The micro-batch that was planned but not committed when the last job ended: Spark runs it again."""
        planned = _last_id(self.folder / "offsets")
        return planned if planned is not None and planned != _last_id(self.folder / "commits") else None

    def committed_offsets(self) -> dict[int, int]:
        """Per partition the offset up to which records are scored; empty before the first micro-batch ended."""
        batch_id = _last_id(self.folder / "commits")
        return {} if batch_id is None else self._offsets(self.folder / "offsets" / str(batch_id))

    def planned_offsets(self) -> dict[int, int]:
        """Per partition the offset up to which records were handed out, scored or not; empty for a new checkpoint."""
        batch_id = _last_id(self.folder / "offsets")
        return {} if batch_id is None else self._offsets(self.folder / "offsets" / str(batch_id))

    def begins(self) -> dict[int, int]:
        """Per partition the offset at which scoring goes on; empty for a new checkpoint."""
        initial = self.folder / "sources" / "0" / "0"
        return (self._offsets(initial) if initial.exists() else {}) | self.committed_offsets()

    def is_committed(self, batch_id: int) -> bool:
        return (self.folder / "commits" / str(batch_id)).exists()

    def ranges(self, batch_id: int) -> dict[int, OffsetRange]:
        """The offsets of each partition that micro-batch ``batch_id`` covers; partitions without new records left out.

        A partition created later begins at offset 0: that is where Spark begins reading it.
        """
        initial = self._offsets(self.folder / "sources" / "0" / "0")
        start = self._offsets(self.folder / "offsets" / str(batch_id - 1)) if batch_id > 0 else initial
        return {
            partition: OffsetRange(initial.get(partition, 0), start.get(partition, 0), end)
            for partition, end in self._offsets(self.folder / "offsets" / str(batch_id)).items()
            if end > start.get(partition, 0)
        }

    def _offsets(self, log: Path) -> dict[int, int]:
        offsets = json.loads(log.read_text().splitlines()[-1])
        return {int(partition): offset for partition, offset in offsets[self.topic].items()}


def _last_id(folder: Path) -> int | None:
    return max((int(path.name) for path in folder.glob("*") if path.name.isdecimal()), default=None)
