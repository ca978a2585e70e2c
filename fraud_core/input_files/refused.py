"""Rows of a file that were refused, or accepted without a field: counted by what is wrong, with a few examples."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

_SHOWN_PER_REASON = 3
_KINDS = {"has no zone": "time without a zone", "timestamp lies": "timestamp in the future"}


@dataclass
class Refused:
    """Counts refused rows by what is wrong, keeps the first few as examples; writes all to ``file`` if there is one."""

    file: TextIO | None = None
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)
    """Rows that were accepted without an optional field, because it held something that cannot be used; by field."""

    def add(self, source: Path, number: int, reason: str, row: dict[str, Any] | str) -> None:
        """number : line of a text file or row of a Parquet file. row : its columns, or why it has none."""
        # Reasons begin with the field where there is one: "amount: 'three' is no number".
        field_or_reason = reason.partition(":")[0][:80]
        kind = next((kind for phrase, kind in _KINDS.items() if phrase in reason), field_or_reason)
        self.counts[kind] += 1
        examples = self.examples.setdefault(kind, [])
        if len(examples) < _SHOWN_PER_REASON:
            examples.append(f"{source.name}, row {number}: {reason}")
        if self.file is not None:
            values = row if isinstance(row, dict) else None
            record = {"file": str(source), "row": number, "reason": reason, "values": values}
            self.file.write(json.dumps(record, default=str) + "\n")

    def lines(self) -> list[str]:
        """What to show: each reason with its count, most frequent first, and its examples."""
        shown = []
        for kind, count in self.counts.most_common():
            shown.append(f"{count:,} refused, {kind}:")
            shown += [f"   {example}" for example in self.examples[kind]]
        shown += [
            f"{count:,} accepted without {name}, which cannot be used" for name, count in self.ignored.most_common()
        ]
        return shown
