"""Where a simulation stands: its population, how far its clock went, and the labels that are not known yet."""

from dataclasses import dataclass, field

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
