"""Offsets of the topic that get no decision because nothing is to be decided there: those before the stream's
beginning, and those without a record (markers of transactions, aborted records). Seen from outside, they look lost.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from fraud_io.files import write_durably
from streaming.state.checkpoint import OffsetRange


class SkippedOffsets:
    """Counts them in ``file``, whose place is the checkpoint. A micro-batch that runs again is counted once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        known = json.loads(file.read_text()) if file.exists() else {}
        # By partition: up to where they are counted, and how many.
        self._known: dict[int, tuple[int, int]] = {int(at): (end, count) for at, (end, count) in known.items()}

    def counts(self, beginning: Mapping[int, int]) -> dict[int, int]:
        """By partition. beginning : the offset at which the stream began."""
        return {**beginning, **{at: count for at, (_, count) in self._known.items()}}

    def add(self, ranges: Mapping[int, OffsetRange], records: Mapping[int, int]) -> None:
        """Take in a micro-batch: what it covers, and how many records each partition had. Durable on return."""
        changed = False
        for partition, covered in ranges.items():
            counted_to, count = self._known.get(partition, (covered.initial, covered.initial))
            empty = covered.end - covered.start - records.get(partition, 0)
            if empty and covered.end > counted_to:
                self._known[partition] = (covered.end, count + empty)
                changed = True
        if changed:  # with producers that use no transactions: never
            write_durably(self._file, json.dumps(self._known) + "\n")
