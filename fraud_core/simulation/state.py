"""Where a simulation stands: its population, how far its clock went, and the labels that are not known yet.

Kept in FRAUD_HOME/simulation, so that the live stream goes on where the history, or the last live stream, ended.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import polars as pl

LABELS = {"transaction_id": pl.String, "is_fraud": pl.Boolean, "source": pl.String, "label_time_ms": pl.Int64}


@dataclass
class Simulation:
    """day, row : the next transaction to send (UTC day since 1970, row of that day).
    new_fraud_from : the day from which on a new kind of fraud goes about; None: never.
    """

    customers: int
    seed: int
    day: int
    row: int = 0
    new_fraud_from: int | None = None
    pending_labels: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=LABELS))

    def labels_due(self, now_ms: int) -> pl.DataFrame:
        """Take the labels that are known by ``now_ms`` out of the pending ones, in order of their time."""
        is_due = pl.col("label_time_ms") <= now_ms
        due = self.pending_labels.filter(is_due).sort("label_time_ms", "transaction_id")
        if len(due):
            self.pending_labels = self.pending_labels.filter(~is_due)
        return due

    def expect(self, labels: pl.DataFrame) -> None:
        self.pending_labels = pl.concat([self.pending_labels, labels])

    @classmethod
    def load(cls, home: Path) -> "Simulation | None":
        folder = home / "simulation"
        if not (folder / "state.json").exists():
            return None
        state = json.loads((folder / "state.json").read_text())
        return cls(**state, pending_labels=pl.read_parquet(folder / "pending_labels.parquet"))

    def save(self, home: Path) -> None:
        folder = home / "simulation"
        folder.mkdir(parents=True, exist_ok=True)
        self.pending_labels.write_parquet(folder / "pending_labels.parquet")
        state = {name: value for name, value in asdict(self).items() if name != "pending_labels"}
        (folder / "state.json").write_text(json.dumps(state))


def new_fraud_file(home: Path) -> Path:
    """The transaction ids of new kinds of fraud, a line each, in the order they were sent."""
    return home / "simulation" / "new_fraud.txt"
