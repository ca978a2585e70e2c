"""Where the values between assets are stored: one file (or folder) per asset and partition below the lake. No
pickles."""

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
import orjson
import polars as pl
from pydantic import TypeAdapter

from fraud_assets.lake.offset_log import OffsetLog
from fraud_core.labels.known import LABEL_COLUMNS
from fraud_core.labels.quarantine import without
from fraud_core.model.stored import StoredModel
from fraud_core.payments.transaction import COLUMNS
from fraud_io.files import replacing
from fraud_io.quarantine_log import QuarantineLog

INGESTED = {"transactions": COLUMNS, "labels": LABEL_COLUMNS}
"""What training reads from Kafka, into an OffsetLog each, and with which columns."""


class PartitionFileIOManager(dg.ConfigurableIOManager):
    """Keeps a value at ``<lake>/<asset>/<partition><suffix>``. Writes are atomic."""

    lake: str
    suffix: ClassVar[str]

    @abstractmethod
    def write(self, value: Any, path: Path) -> None: ...

    @abstractmethod
    def read(self, path: Path, kind: type) -> object: ...

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        path = self._path(context)
        # Not durably: what a power cut takes is made again from the OffsetLogs.
        with replacing(path) as new:
            self.write(obj, new)
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

    All of it for any partition: the core decides by their times which rows count as of a day. Only labels in
    quarantine are held back.
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
        # Here and not above: the import compiles.
        from fraud_core.decisions.prediction_table import IS_FIRST, PREDICTION_COLUMNS

        return log.scan(PREDICTION_COLUMNS).filter(IS_FIRST).unique("transaction_id", keep="any").collect()
