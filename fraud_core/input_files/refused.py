"""Rows of a file that were refused, or accepted without a field: counted by what is wrong, with a few examples."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TextIO

from fraud_core.input_files.chunks import Row
from fraud_core.input_files.sources import Source

_SHOWN_PER_REASON = 3
_KINDS = {"has no zone": "time without a zone", "timestamp lies": "timestamp in the future"}


@dataclass
class Refused:
    """Counts refused rows by what is wrong, keeps the first few as examples; writes all to ``file`` if there is one.

    rows : all that were read, refused or not. ignored : rows that were accepted without an optional field, because it
    held something that cannot be used; by field. nothing : fields that held a spelling of nothing; by field and
    spelling. recoded : lines that are no UTF-8 and were read as windows-1252. left_out : rows that are
    neither payments nor labels to the mapping. labels : rows beside payments that are labels to it.
    """

    file: TextIO | None = None
    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)
    nothing: Counter[tuple[str, str]] = field(default_factory=Counter)
    recoded: int = 0
    left_out: int = 0
    labels: int = 0

    def add(self, source: Source, row: Row, reason: str) -> None:
        # Reasons begin with the field where there is one: "amount: 'three' is no number".
        field_or_reason = reason.partition(":")[0][:80]
        kind = next((kind for phrase, kind in _KINDS.items() if phrase in reason), field_or_reason)
        self.counts[kind] += 1
        examples = self.examples.setdefault(kind, [])
        if len(examples) < _SHOWN_PER_REASON:
            before = f" ({row.origin[0]}, row {row.origin[1]})" if row.origin else ""
            examples.append(f"{source.name}, row {row.number}{before}: {reason}")
        if self.file is not None:
            file, number = row.origin or (str(source), row.number)
            is_read = isinstance(row.raw, dict)
            record = {"file": file, "row": number, "reason": reason, "values": row.raw if is_read else None}
            if not is_read:
                record["text"] = row.raw
            self.file.write(json.dumps(record, default=str) + "\n")

    def notes(self) -> dict[str, int]:
        """What else is to be known of the rows, with how many it concerns."""
        notes = {f"without {name}, which cannot be used": count for name, count in self.ignored.most_common()}
        for (name, spelling), count in self.nothing.most_common():
            namibia = " (write NAM where it is Namibia)" if (name, spelling) == ("country", "NA") else ""
            notes[f"without {name}, which holds {spelling}{namibia}"] = count
        if self.recoded:
            notes["read as windows-1252: the lines are no UTF-8"] = self.recoded
        return notes

    def lines(self) -> list[str]:
        """What to show: each reason with its count, most frequent first, and its examples."""
        shown = []
        for kind, count in self.counts.most_common():
            shown.append(f"{count:,} refused, {kind}:")
            shown += [f"   {example}" for example in self.examples[kind]]
        shown += [f"{count:,} accepted {note}" for note, count in self.notes().items()]
        return shown + ([f"{self.left_out:,} rows left out: the mapping takes nothing from them"] * bool(self.left_out))
