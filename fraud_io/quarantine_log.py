"""Which batches of labels are held, and who released what: an append-only file beside the labels in the lake.

The labels themselves stay where they are. What is held follows from the lines alone, so the number of lines
identifies what a training run could not see.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from fraud_core.labels.quarantine import Batch, held_after, released_in
from fraud_core.timestamps import format_rfc3339_ms, now_ms
from fraud_io.folders import Lake
from fraud_io.json_lines import JsonLines


class QuarantineLog:
    """JSON Lines at ``<lake>/label_quarantine.jsonl``; a line holds a batch, or releases it for good."""

    def __init__(self, lake: Path) -> None:
        self.path = Lake(lake).label_quarantine
        self._log = JsonLines(self.path)

    def __len__(self) -> int:
        """Lines so far."""
        return len(self._log.entries())

    def held(self, lines: int | None = None) -> list[Batch]:
        """The batches that are held now, or were after the first ``lines``, oldest first."""
        return list(held_after(self._log.entries()[:lines]).values())

    def released(self) -> set[str]:
        """Names of the batches that were released; they are not held again."""
        return released_in(self._log.entries())

    def blocks_promotion(self) -> str | None:
        """Why no model may be promoted: one sentence that says what to do. None when nothing is held."""
        held = self.held()
        if not held:
            return None
        named = ", ".join(f"{batch.name} ({batch.reason})" for batch in held)
        return f"labels are in quarantine, look at ./run labels and release or correct them: {named}"

    def hold(self, batches: Sequence[Batch], who: str) -> list[Batch]:
        """Hold those that are not held yet as they are, and not released; the ones that were written."""
        with self._log.locked() as append:
            lines = self._log.entries()
            held, released = held_after(lines), released_in(lines)
            new = [batch for batch in batches if batch.name not in released and held.get(batch.name) != batch]
            for batch in new:
                append(_line(who, "hold", {**asdict(batch), "batch": batch.name}))
        return new

    def release(self, name: str, reason: str, who: str) -> list[Batch]:
        """Release a batch, or all that are held of a source. LookupError when there is none of that name."""
        with self._log.locked() as append:
            held = held_after(self._log.entries())
            chosen = [batch for batch in held.values() if name in (batch.name, batch.source)]
            if not chosen:
                there = ", ".join(held) or "none"
                raise LookupError(f"no batch or source called {name} is in quarantine; there are: {there}")
            for batch in chosen:
                append(_line(who, "release", {"batch": batch.name, "reason": reason}))
        return chosen


def _line(who: str, action: str, what: dict[str, object]) -> dict[str, object]:
    return {"at": format_rfc3339_ms(now_ms()), "who": who, "action": action, **what}
