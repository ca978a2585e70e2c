"""Where the values between assets lie: one file (or folder) per asset and partition below the lake. No pickles."""

import shutil
from abc import abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import dagster as dg
import orjson
import polars as pl
from pydantic import TypeAdapter

from fraud_assets.lake.offset_log import OffsetLog
from fraud_core.labels.known import LABEL_COLUMNS
from fraud_core.labels.quarantine import without
from fraud_core.labels.quarantine_log import QuarantineLog
from fraud_core.payments.transaction import COLUMNS

if TYPE_CHECKING:
    from xgboost import Booster

    from fraud_core.model.calibration import Calibration
    from fraud_core.model.fraud_model import FraudModel

INGESTED = {"transactions": COLUMNS, "labels": LABEL_COLUMNS}
"""What training reads from Kafka, into an OffsetLog each, and with which columns."""


@dataclass(frozen=True)
class StoredModel:
    """A model as it is kept: trees in XGBoost's UBJ format, and its ModelCard in JSON types."""

    ubj: bytes
    card: dict

    @classmethod
    def of(cls, model: "FraudModel") -> "StoredModel":
        return cls(bytes(model.booster.save_raw("ubj")), model.card.to_dict())

    def completed(self, calibration: "Calibration", threshold: float) -> "StoredModel":
        """The same trees with what was chosen on validation."""
        return replace(self, card={**self.card, "calibration": calibration.to_dict(), "threshold": threshold})

    def booster(self) -> "Booster":
        # Here and not above: the import takes seconds, and the code location is loaded in every process.
        from xgboost import Booster

        return Booster(model_file=bytearray(self.ubj))

    def open(self) -> "FraudModel":
        """ValueError when it was made for other features than this code computes."""
        from fraud_core.model.fraud_model import FraudModel, ModelCard

        return FraudModel(self.booster(), ModelCard.from_dict(self.card))


class PartitionFileIOManager(dg.ConfigurableIOManager):
    """Keeps a value at ``<lake>/<asset>/<partition><suffix>``. A value is there completely or not at all."""

    lake: str
    suffix: ClassVar[str]

    @abstractmethod
    def write(self, value: object, path: Path) -> None: ...

    @abstractmethod
    def read(self, path: Path, kind: type) -> object: ...

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        path = self._path(context)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}-{context.run_id}")
        self.write(obj, new)
        if path.is_dir():
            shutil.rmtree(path)  # a folder cannot be replaced by a rename as a file can
        new.replace(path)
        context.add_output_metadata({"path": dg.MetadataValue.path(path)})

    def load_input(self, context: dg.InputContext) -> object:
        path = self._path(context)
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing: materialize {context.asset_key.path[-1]} of this day first")
        return self.read(path, context.dagster_type.typing_type)

    def _path(self, context: dg.InputContext | dg.OutputContext) -> Path:
        return Path(self.lake) / context.asset_key.path[-1] / f"{context.asset_partition_key}{self.suffix}"


class ParquetIOManager(PartitionFileIOManager):
    """polars.DataFrame as Parquet."""

    suffix = ".parquet"

    def write(self, value: pl.DataFrame, path: Path) -> None:
        value.write_parquet(path)

    def read(self, path: Path, kind: type) -> pl.DataFrame:
        return pl.read_parquet(path)


class ModelIOManager(PartitionFileIOManager):
    """StoredModel as a folder with model.ubj and card.json."""

    suffix = ""

    def write(self, value: StoredModel, path: Path) -> None:
        path.mkdir()
        (path / "model.ubj").write_bytes(value.ubj)
        (path / "card.json").write_bytes(orjson.dumps(value.card, option=orjson.OPT_INDENT_2))

    def read(self, path: Path, kind: type) -> StoredModel:
        return StoredModel((path / "model.ubj").read_bytes(), orjson.loads((path / "card.json").read_bytes()))


class RecordIOManager(PartitionFileIOManager):
    """A small dataclass as JSON, checked against the type that the reading asset declares."""

    suffix = ".json"

    def write(self, value: object, path: Path) -> None:
        path.write_bytes(TypeAdapter(type(value)).dump_json(value, indent=2))

    def read(self, path: Path, kind: type) -> object:
        return TypeAdapter(kind).validate_json(path.read_bytes())


class IngestedIOManager(dg.ConfigurableIOManager):
    """Hands out all that an asset has read from Kafka so far into its OffsetLog; it writes that itself.

    Whatever the partition, all of it: which rows count as of a day is decided by their times, in the core. Only labels
    in quarantine are held back, from everybody.
    """

    lake: str

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        raise TypeError(f"{context.asset_key} returns no value: it appends to its OffsetLog")

    def load_input(self, context: dg.InputContext) -> pl.DataFrame:
        name = context.asset_key.path[-1]
        log = OffsetLog(Path(self.lake) / name)
        if name == "labels":
            return without(log.scan(LABEL_COLUMNS).collect(), QuarantineLog(Path(self.lake)).held())
        if name in INGESTED:
            return log.scan(INGESTED[name]).collect()
        from fraud_core.decisions.prediction_table import PREDICTION_COLUMNS  # here and not above: the import compiles

        return log.scan(PREDICTION_COLUMNS).unique("transaction_id", keep="any").collect()
