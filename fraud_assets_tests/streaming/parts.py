"""What the streaming tests build their streams from: records, small models, a registry, a checkpoint, a sink."""

import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import xgboost as xgb

from fraud_core.features.merchant_risk import RISK_COLUMNS
from fraud_core.features.table import FEATURE_HASH, FEATURES
from fraud_core.model.anomaly import AnomalyDetector, fit_anomaly_detector
from fraud_core.model.digests import digests
from fraud_core.model.fraud_model import FraudModel, ModelCard
from fraud_core.model.stored import StoredModel
from fraud_core.payments.transaction import encode_transaction
from fraud_io.model_registry import Entry
from streaming.job.scorer import SCHEMA
from streaming.state.checkpoint import OffsetRange


def booster(seed: int) -> xgb.Booster:
    """A few trees over random rows, and an anomaly detector: real scores, no meaning."""
    rng = np.random.default_rng(seed)
    rows = rng.lognormal(2, 2, (300, len(FEATURES)))
    data = xgb.DMatrix(rows, rng.random(300) < 0.4, feature_names=list(FEATURES))
    trees = xgb.train({"max_depth": 3, "objective": "binary:logistic", "nthread": 1, "seed": seed}, data, 10)
    return FraudModel.with_detector(trees, card(), detector()).booster


@cache
def detector() -> AnomalyDetector:
    """Routes what is stranger than nine in ten random rows."""
    rows = np.random.default_rng(0).lognormal(2, 2, (1000, len(FEATURES)))
    names = pl.DataFrame(dict(zip(FEATURES, rows.T, strict=True)))
    return fit_anomaly_detector(names.with_columns(event_time_ms=pl.int_range(pl.len())), 0.1, seed=1)


def card(threshold: float = 0.4, features: tuple[str, ...] = FEATURES, feature_hash: str = FEATURE_HASH) -> ModelCard:
    return ModelCard(threshold, 0.01, (0, 1_767_225_600_000), features, feature_hash)


def model(seed: int = 1, threshold: float = 0.4) -> FraudModel:
    return FraudModel(booster(seed), card(threshold))


def messages(transactions: pl.DataFrame) -> list[bytes]:
    """The JSON a producer would have sent for these rows (transaction.COLUMNS)."""
    sent = transactions.drop("partition", "offset", "ingest_time_ms")
    return [encode_transaction(row) for row in sent.to_dicts()]


def records(transactions: pl.DataFrame, values: list[bytes | None] | None = None) -> pa.Table:
    """Records of a topic (scorer.SCHEMA); ``values`` replaces what the rows say."""
    columns = {
        "key": [user.encode() for user in transactions["user_id"]],
        "value": messages(transactions) if values is None else values,
        "partition": transactions["partition"].to_list(),
        "offset": transactions["offset"].to_list(),
        "timestamp": [datetime.fromtimestamp(ms / 1000, UTC) for ms in transactions["ingest_time_ms"]],
    }
    return pa.table(columns, schema=SCHEMA)


def ranges(begin: dict[int, int], end: dict[int, int]) -> dict[int, OffsetRange]:
    """Offset ranges of a micro-batch that begins and ends at these offsets, as Checkpoint has them."""
    return {
        partition: OffsetRange(0, begin.get(partition, 0), offset)
        for partition, offset in end.items()
        if offset > begin.get(partition, 0)
    }


def payments(n: int, users: int = 3, partitions: int = 2) -> pl.DataFrame:
    """``n`` plain transactions a minute apart, offsets counted within each partition, in arrival order."""
    rows, offsets = [], [0] * partitions
    for number in range(n):
        user = number % users
        partition = user % partitions
        time_ms = 1_767_225_600_000 + number * 60_000
        rows.append(
            {
                "transaction_id": f"t{number}",
                "user_id": f"u{user}",
                "merchant_id": f"m{number % 5}",
                "amount_minor": 1000 + 37 * number,
                "currency": "EUR",
                "event_time_ms": time_ms,
                "partition": partition,
                "offset": offsets[partition],
                "ingest_time_ms": time_ms,
            }
        )
        offsets[partition] += 1
    return pl.DataFrame(rows)


class FolderRegistry:
    """A registry in a folder: aliases, and a booster, a card and their digests per version.

    ``is_up`` False: it does not answer.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.roles: dict[str, str] = {}
        self.is_up = True
        self.downloads = 0

    def register(self, version: str, seed: int, model_card: ModelCard | None = None) -> None:
        folder = self._folder / version
        folder.mkdir(parents=True)
        booster(seed).save_model(folder / "model.ubj")
        of_version = (model_card or card()).to_dict()
        (folder / "card.json").write_text(json.dumps(of_version))
        found = digests((folder / "model.ubj").read_bytes(), of_version)
        (self._folder / f"{version}.json").write_text(json.dumps(found))

    def aliases(self) -> dict[str, str]:
        self._answer()
        return dict(self.roles)

    def entry(self, version: str) -> Entry:
        self._answer()
        return Entry(f"run of {version} in {self._folder}", json.loads((self._folder / f"{version}.json").read_text()))

    def load(self, version: str, entry: Entry) -> StoredModel:
        self._answer()
        self.downloads += 1
        folder = self._folder / version
        return StoredModel((folder / "model.ubj").read_bytes(), json.loads((folder / "card.json").read_text()))

    def _answer(self) -> None:
        if not self.is_up:
            raise OSError("connection refused")


class SparkCheckpoint:
    """Writes a checkpoint folder as Spark does."""

    def __init__(self, folder: Path, partitions: int = 2, topic: str = "transactions") -> None:
        self.folder = folder
        self._topic = topic
        self._write("metadata", json.dumps({"id": f"stream at {folder}"}))
        self._write("sources/0/0", self._log("v1", dict.fromkeys(range(partitions), 0)))

    def plan(self, batch_id: int, ends: dict[int, int]) -> None:
        self._write(f"offsets/{batch_id}", "v1\n" + self._log('{"batchWatermarkMs":0}', ends))

    def commit(self, batch_id: int) -> None:
        self._write(f"commits/{batch_id}", 'v1\n{"nextBatchWatermarkMs":0}')

    def _log(self, head: str, offsets: dict[int, int]) -> str:
        return f"{head}\n" + json.dumps({self._topic: {str(at): offset for at, offset in offsets.items()}})

    def _write(self, name: str, text: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


class ListSink:
    """Keeps what is sent. ``crash_in`` "send" or "flush": the process dies there, once the records are out."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes | None, bytes]] = []
        self.headers: list[dict[str, str]] = []
        self.crash_in: str | None = None

    def send(self, topic: str, of_topic: list[tuple[bytes | None, bytes]], headers: dict[str, str]) -> None:
        self.sent += [(topic, key, value) for key, value in of_topic]
        self.headers.append(headers)
        self._crash("send")

    def flush(self) -> None:
        self._crash("flush")

    def _crash(self, where: str) -> None:
        if where == self.crash_in:
            raise KeyboardInterrupt


def risk_table(folder: Path, effective_from_ms: int, fraud_rate: float) -> str:
    """Write a merchant risk table with one merchant, m0; returns the file's name."""
    numbers = dict.fromkeys(list(RISK_COLUMNS)[2:], fraud_rate)
    table = pl.DataFrame({"effective_from_ms": effective_from_ms, "merchant_id": "m0", **numbers}, schema=RISK_COLUMNS)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{effective_from_ms}-{int(fraud_rate * 1000):012d}.parquet"
    table.write_parquet(folder / name)
    return name
