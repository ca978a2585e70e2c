"""Which batches of labels are held, and who released what: an append-only file beside the labels in the lake.

The labels themselves stay where they are. What is held follows from the lines alone, so the number of lines
identifies what a training run could not see.
"""

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from fraud_core.labels.quarantine import Batch
from fraud_core.timestamps import format_rfc3339_ms, now_ms

_FIELDS = tuple(Batch.__dataclass_fields__)


class QuarantineLog:
    """JSON Lines at ``<lake>/label_quarantine.jsonl``; a line holds a batch, or releases it for good."""

    def __init__(self, lake: Path) -> None:
        self.path = lake / "label_quarantine.jsonl"

    def __len__(self) -> int:
        """Lines so far."""
        return len(self._lines())

    def held(self, lines: int | None = None) -> list[Batch]:
        """The batches that are held now, or were after the first ``lines``, oldest first."""
        return list(_held(self._lines()[:lines]).values())

    def released(self) -> set[str]:
        """Names of the batches that were released; they are not held again."""
        return _released(self._lines())

    def blocks_promotion(self) -> str | None:
        """Why no model may be promoted: one sentence with what to do. None when nothing is held."""
        held = self.held()
        if not held:
            return None
        batches = ", ".join(f"{batch.name} ({batch.reason})" for batch in held)
        return f"labels are in quarantine, look at ./run labels and release or correct them: {batches}"

    def hold(self, batches: Sequence[Batch], who: str) -> list[Batch]:
        """Hold those that are not held yet as they are, and not released; the ones that were written."""
        with self._locked() as (file, lines):
            held, released = _held(lines), _released(lines)
            new = [batch for batch in batches if batch.name not in released and held.get(batch.name) != batch]
            for batch in new:
                _write(file, who, "hold", {**asdict(batch), "batch": batch.name})
        return new

    def release(self, name: str, reason: str, who: str) -> list[Batch]:
        """Release a batch, or all that are held of a source. LookupError when there is none of that name."""
        with self._locked() as (file, lines):
            held = _held(lines)
            chosen = [batch for batch in held.values() if name in (batch.name, batch.source)]
            if not chosen:
                there = ", ".join(held) or "none"
                raise LookupError(f"no batch or source called {name} is in quarantine; there are: {there}")
            for batch in chosen:
                _write(file, who, "release", {"batch": batch.name, "reason": reason})
        return chosen

    def _lines(self) -> list[dict]:
        return _read(self.path.read_text()) if self.path.exists() else []

    @contextmanager
    def _locked(self) -> Iterator[tuple[TextIO, list[dict]]]:
        """The file to append to and what it holds; nobody else writes meanwhile."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            yield file, _read(file.read())


def _held(lines: Sequence[dict]) -> dict[str, Batch]:
    held = {}
    for line in lines:
        if line["action"] == "release":
            held.pop(line["batch"], None)
        else:
            positions = {int(partition): tuple(bounds) for partition, bounds in line["positions"].items()}
            held[line["batch"]] = Batch(**{**{name: line[name] for name in _FIELDS}, "positions": positions})
    return held


def _released(lines: Sequence[dict]) -> set[str]:
    return {line["batch"] for line in lines if line["action"] == "release"}


def _read(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def _write(file: TextIO, who: str, action: str, what: dict) -> None:
    file.write(json.dumps({"at": format_rfc3339_ms(now_ms()), "who": who, "action": action, **what}) + "\n")
