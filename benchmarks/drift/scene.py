"""Simulated payments whose kinds of fraud begin when the experiment says so, and a model trained before they do."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from fraud_core.features.exchange_rates import NO_RATES
from fraud_core.features.merchant_risk import MerchantHistory
from fraud_core.features.table import compute_features
from fraud_core.model.fraud_model import FraudModel
from fraud_core.settings import Settings
from fraud_core.simulation.arrived import arrived
from fraud_core.simulation.fraud_patterns import KINDS, Rates
from fraud_core.simulation.simulator import Simulator
from fraud_core.timestamps import DAY_MS
from fraud_core.training import recipe
from fraud_core.training.search import DEFAULTS
from fraud_core.training.training_set import build_training_set, time_split

FIRST_DAY = 20_454  # 2026-01-01


@dataclass(frozen=True)
class Payments:
    """rows : transaction.COLUMNS in order of arrival. kind : (n,) name of each row's, one of KINDS.

    labels : labels.LABEL_COLUMNS, also those that become known after the last row.
    """

    rows: pl.DataFrame
    kind: pl.Series
    labels: pl.DataFrame

    @property
    def day(self) -> np.ndarray:
        """(n,) days since the first one."""
        return self.rows["event_time_ms"].to_numpy() // DAY_MS - FIRST_DAY


def simulate(customers: int, seed: int, days: int, rates: Rates) -> Payments:
    """``days`` days of payments from FIRST_DAY on. ``rates``: as Simulator takes them, with days counted from there."""
    since_1970 = {name: {FIRST_DAY + day: times for day, times in of.items()} for name, of in rates.items()}
    simulator = Simulator(customers, seed, since_1970)
    simulated = [simulator.day(day) for day in range(FIRST_DAY, FIRST_DAY + days)]
    kind = pl.Series(KINDS).gather(np.concatenate([day.kind for day in simulated]))
    rows, labels = arrived(simulated)
    return Payments(rows, kind, labels)


def features_of(payments: Payments, settings: Settings) -> np.ndarray:
    """(n, len(FEATURES)) float64, as the stream serves them."""
    risk = MerchantHistory(payments.rows, payments.labels, settings.label_delay_days)
    return compute_features(payments.rows, None, risk, NO_RATES).values


def train(payments: Payments, as_of_day: int, settings: Settings) -> FraudModel:
    """A model as the daily run would train it at the end of ``as_of_day``, without its search and without SMOTE."""
    as_of_ms = (FIRST_DAY + as_of_day) * DAY_MS
    known = payments.rows.filter(pl.col("event_time_ms") < as_of_ms)
    rows = build_training_set(known, payments.labels, as_of_ms, settings, NO_RATES)
    window = time_split(as_of_ms, settings).train
    return recipe.train(rows, window, settings, smote_ratio=0.0, params=DEFAULTS).model
