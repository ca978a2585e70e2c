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

from fraud_io.errors import OperatorError
from fraud_io.stream_start import StreamStart, read_start


@dataclass(frozen=True)
class OffsetRange:
    """Offsets [start, end) of one partition in one micro-batch. ``initial`` is where the histories begin."""

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

    def check(self) -> None:
        """Raises OperatorError, naming it, when a file is corrupt: what a power cut or a full disk may leave."""
        self.check_identity()
        if broken := self.broken_files():
            raise OperatorError(
                f"the checkpoint's file {broken[-1]} is corrupt: ./run repair works out from the topics how far the "
                "stream is, nothing is skipped or decided differently (docs/reliability.md)"
            )

    def check_identity(self) -> None:
        """As ``check``, of the files that identify the stream and its beginning: they cannot be worked out."""
        for file in (self.folder / "metadata", self._beginning):
            if file.exists() and not self._is_intact(file):
                raise OperatorError(
                    f"the checkpoint's file {file} is corrupt, and nothing else records what it held: restore the "
                    "checkpoint from a copy, or see docs/reliability.md on beginning anew"
                )
        if self._beginning.exists() and self.topic not in (found := self._of_topics(self._beginning)):
            raise OperatorError(
                f"the checkpoint {self.folder} is that of the topic {', '.join(found)}, not of {self.topic}: set "
                "FRAUD_TOPIC_TRANSACTIONS as it was, or give this system a folder of its own with FRAUD_HOME"
            )

    def broken_files(self) -> list[Path]:
        """Files of micro-batches that cannot be read as Spark wrote them, oldest first."""
        return [file for kind in ("offsets", "commits") for file in self._log(kind) if not self._is_intact(file)]

    def last_id(self) -> int | None:
        """The highest id of a micro-batch that has any file."""
        ids = (self._last_id(kind) for kind in ("offsets", "commits"))
        return max((batch_id for batch_id in ids if batch_id is not None), default=None)

    def last_whole_batch(self) -> int | None:
        """The newest micro-batch whose end and whose commit can both be read: all before its end is decided."""
        intact = [{int(f.name) for f in self._log(kind) if self._is_intact(f)} for kind in ("offsets", "commits")]
        return max(intact[0] & intact[1], default=None)

    def end_of(self, batch_id: int) -> dict[int, int]:
        """Per partition the offset at which a micro-batch ends."""
        return self._offsets(self.folder / "offsets" / str(batch_id))

    def beginning(self) -> dict[int, int]:
        """Per partition the offset at which the stream itself began."""
        return self._offsets(self._beginning)

    @property
    def start(self) -> StreamStart | None:
        """What a new stream was told about where it begins."""
        return read_start(self.folder)

    @property
    def _beginning(self) -> Path:
        return self.folder / "sources" / "0" / "0"

    def _log(self, kind: str) -> list[Path]:
        files = (file for file in (self.folder / kind).glob("*") if file.name.isdecimal())
        return sorted(files, key=lambda file: int(file.name))

    def _last_id(self, kind: str) -> int | None:
        files = self._log(kind)
        return int(files[-1].name) if files else None

    def _is_intact(self, file: Path) -> bool:
        try:
            last = json.loads(file.read_text().splitlines()[-1])
        except (ValueError, IndexError):
            return False
        # The line before the last of a file of offsets is JSON too, whose values are no offsets by partition.
        is_of_topics = isinstance(last, dict) and bool(last) and all(isinstance(of, dict) for of in last.values())
        return isinstance(last, dict) and (file.parent.name in ("commits", self.folder.name) or is_of_topics)

    @property
    def query_id(self) -> str:
        """Identity of the stream that this checkpoint belongs to; a new checkpoint is another stream."""
        return json.loads((self.folder / "metadata").read_text())["id"]

    def replayed_batch(self) -> int | None:
        """The micro-batch that was planned but not committed when the last job ended: Spark runs it again."""
        planned = self._last_id("offsets")
        return planned if planned is not None and planned != self._last_id("commits") else None

    def committed_offsets(self) -> dict[int, int]:
        """Per partition the offset up to which records are scored; empty before the first micro-batch ended."""
        batch_id = self._last_id("commits")
        return {} if batch_id is None else self.end_of(batch_id)

    def planned_offsets(self) -> dict[int, int]:
        """Per partition the offset up to which records were handed out, scored or not; empty for a new checkpoint."""
        batch_id = self._last_id("offsets")
        return {} if batch_id is None else self.end_of(batch_id)

    def begins(self) -> dict[int, int]:
        """Per partition the offset at which scoring goes on; empty for a new checkpoint."""
        return (self.beginning() if self._beginning.exists() else {}) | self.committed_offsets()

    def is_committed(self, batch_id: int) -> bool:
        return (self.folder / "commits" / str(batch_id)).exists()

    def ranges(self, batch_id: int) -> dict[int, OffsetRange]:
        """The offsets of each partition that micro-batch ``batch_id`` covers; partitions without new records left out.

        A partition created later begins at offset 0: that is where Spark begins reading it.
        """
        beginning = self.beginning()
        initial = beginning | (self.start.histories_from if self.start else {})
        start = self.end_of(batch_id - 1) if batch_id > 0 else beginning
        return {
            partition: OffsetRange(initial.get(partition, 0), start.get(partition, 0), end)
            for partition, end in self.end_of(batch_id).items()
            if end > start.get(partition, 0)
        }

    def _offsets(self, log: Path) -> dict[int, int]:
        return {int(partition): offset for partition, offset in self._of_topics(log)[self.topic].items()}

    def _of_topics(self, log: Path) -> dict[str, dict[str, int]]:
        of_topics: dict[str, dict[str, int]] = json.loads(log.read_text().splitlines()[-1])
        return of_topics
