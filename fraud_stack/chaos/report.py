"""The report of a chaos run: a line for each fault, and the JSON summary."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fraud_stack.chaos.load import Load
    from fraud_stack.chaos.system import System
    from fraud_stack.chaos.verdict import ChaosVerdict
    from fraud_stack.services.memory import MemoryPeak


@dataclass(frozen=True)
class Struck:
    """A fault that was injected ``at`` seconds after the first could have been.

    recovered_after_s : from the end of the strike to the first decision on a transaction that arrived after it; the
        time the fault was held counts.
    skipped : why it could not be injected. problem : what was wrong with the recovery.
    """

    name: str
    at: float
    recovered_after_s: float | None
    skipped: str | None = None
    problem: str | None = None

    @property
    def is_lasting(self) -> bool:
        return self.problem is not None

    def line(self) -> str:
        if self.skipped:
            outcome = f"skipped: {self.skipped}"
        elif self.problem:
            outcome = f"NOT RECOVERED: {self.problem}"
        else:
            outcome = f"answers again after {self.recovered_after_s:.1f} s"
        return f"{self.at:6.1f} s  {self.name:24} {outcome}"

    def to_dict(self) -> dict:
        written = {"name": self.name, "at": self.at, "recovered_after_s": self.recovered_after_s}
        return written | {name: text for name in ("skipped", "problem") if (text := getattr(self, name))}


def to_dict(
    seed: int,
    minutes: float,
    verdict: "ChaosVerdict",
    struck: list[Struck],
    load: "Load",
    system: "System",
    memory: "MemoryPeak",
) -> dict:
    return {
        "seed": seed,
        "minutes": minutes,
        "ledger": verdict.ledger.to_dict(),
        "features_differing": verdict.features_differing,
        "refused": verdict.refused,
        "misjudged": verdict.misjudged,
        "sent": dict(load.sent),
        "faults": [fault.to_dict() for fault in struck],
        "peak_memory_mib": round(memory.peak_mib),
        **system.notes,
    }
