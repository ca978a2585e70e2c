"""The names of folders and files that more than one package or asset uses: each stands here, or in Settings, once."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
JARS = ROOT / ".jars"
SPARK_JARS = JARS / "spark"
BROKER_JARS = JARS / "broker"


@dataclass(frozen=True)
class Lake:
    """What lies in the lake (``Settings.lake``) under a name of its own; each asset's values lie under the asset's."""

    folder: Path

    @property
    def transactions(self) -> Path:
        """OffsetLog of what was read from the topic, as are the next three."""
        return self.folder / "transactions"

    @property
    def labels(self) -> Path:
        return self.folder / "labels"

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions"

    @property
    def dead_letters(self) -> Path:
        return self.folder / "dead_letters"

    @property
    def merchant_risk(self) -> Path:
        """The hourly tables, which an asset writes and the stream reads."""
        return self.folder / "merchant_risk"

    @property
    def exchange_rates(self) -> Path:
        """JSON Lines, ExchangeRateLog, in a folder of its own: Dagster writes it and the stream reads it."""
        return self.folder / "exchange_rates" / "tables.jsonl"

    @property
    def drift_references(self) -> Path:
        return self.folder / "drift"

    @property
    def promotions(self) -> Path:
        """JSON Lines, a move of a version between stages each: at, who, model, version, from, to, why, evidence
        (numbers by name)."""
        return self.folder / "promotions.jsonl"

    @property
    def label_quarantine(self) -> Path:
        """JSON Lines: QuarantineLog."""
        return self.folder / "label_quarantine.jsonl"
