"""What every contender gets: the same simulated traffic, two trained models, and the merchant risk tables of the day.

The history trains the models and, sent first, fills the cards' histories; the traffic goes on where it ends.
"""

import pickle
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import polars as pl
from xgboost import XGBClassifier

from fraud_core.features.exchange_rates import NO_RATES
from fraud_core.features.merchant_risk import MerchantHistory, newest_effective_times
from fraud_core.model.digests import digests
from fraud_core.model.fraud_model import FraudModel
from fraud_core.model.stored import StoredModel
from fraud_core.payments.transaction import encode_transaction
from fraud_core.settings import Settings
from fraud_core.simulation.arrived import arrived
from fraud_core.simulation.simulator import Simulator
from fraud_core.timestamps import DAY_MS
from fraud_core.training import recipe
from fraud_core.training.search import DEFAULTS
from fraud_core.training.training_set import build_training_set, time_split
from fraud_io.folders import Lake
from fraud_io.model_registry import Entry
from streaming.models.model_cache import ModelCache

CHAMPION, CHALLENGER = "1", "2"
TREES = {CHAMPION: 300, CHALLENGER: 200}

_FIRST_DAY = 20_454  # 2026-01-01
_SEED = 7
# Short periods, so that a few weeks of history make a model.
_TRAINING = {"label_delay_days": 2, "validation_days": 3, "test_days": 3}

Record = tuple[bytes, bytes]  # key, value


class Inputs:
    """``history`` holds about ``customers * days`` records in arrival order; the same arguments give the same bytes."""

    def __init__(self, customers: int = 10_000, days: int = 20) -> None:
        self._simulator = Simulator(customers, _SEED)
        self._end_day = _FIRST_DAY + days
        simulated = [self._simulator.day(day) for day in range(_FIRST_DAY, self._end_day)]
        self._transactions, self._labels = arrived(simulated)
        self.history = list(_encode(pl.concat(day.transactions for day in simulated)))

    def traffic(self) -> Iterator[Record]:
        """Records after the history, without end."""
        for day in count(self._end_day):
            yield from _encode(self._simulator.day(day).transactions)

    def train(self, folder: Path) -> None:
        """Write to ``folder`` what the job finds in FRAUD_HOME when it starts again without a registry: models and risk
        tables; and the champion as a pickle."""
        settings = Settings(home=folder, **_TRAINING)
        as_of_ms = self._end_day * DAY_MS
        labels = self._labels.filter(pl.col("label_time_ms") < as_of_ms)
        rows = build_training_set(self._transactions, labels, as_of_ms, settings, NO_RATES)
        window = time_split(as_of_ms, settings).train
        for version, trees in TREES.items():
            seeded = settings.model_copy(update={"seed": _SEED + int(version)})
            params = DEFAULTS | {"n_estimators": trees}
            model = recipe.train(rows, window, seeded, smote_ratio=0.0, params=params).model
            _keep(version, model, ModelCache(settings.model_cache, settings.currency))
        _pickle_classifier(settings.model_cache / CHAMPION / "model.ubj", folder / "model.pkl")
        history = MerchantHistory(self._transactions, labels, settings.label_delay_days)
        _publish(history, as_of_ms, Lake(settings.lake).merchant_risk)


def _encode(transactions: pl.DataFrame) -> Iterator[Record]:
    """One by one: encoding a day at once would hold up a steady rate for a tenth of a second."""
    for row in transactions.iter_rows(named=True):
        yield row["user_id"].encode(), encode_transaction(row)


def _keep(version: str, model: FraudModel, cache: ModelCache) -> None:
    stored = StoredModel.of(model)
    cache.add(version, Entry("benchmark", digests(stored.ubj, stored.card)), stored)


def _pickle_classifier(model: Path, file: Path) -> None:
    classifier = XGBClassifier()
    classifier.load_model(model)
    file.write_bytes(pickle.dumps(classifier))


def _publish(history: MerchantHistory, as_of_ms: int, folder: Path) -> None:
    folder.mkdir(parents=True)
    for effective_from_ms in newest_effective_times(as_of_ms):
        history.table(effective_from_ms).write_parquet(folder / f"{effective_from_ms}-benchmark.parquet")
