"""Simulated payments whose kinds of fraud begin when the experiment says so, and a model trained before they do."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from fraud_core.features.merchant_risk import MerchantHistory
from fraud_core.features.table import FEATURES, compute_features
from fraud_core.model.anomaly import fit_anomaly_detector
from fraud_core.model.calibration import calibrate
from fraud_core.model.fraud_model import FraudModel, ModelCard
from fraud_core.model.threshold import choose_threshold
from fraud_core.settings import Settings
from fraud_core.simulation.arrived import arrived
from fraud_core.simulation.fraud_patterns import KINDS, Rates
from fraud_core.simulation.simulator import Simulator
from fraud_core.timestamps import DAY_MS
from fraud_core.training.balancing import balance
from fraud_core.training.search import DEFAULTS, refit
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
    return compute_features(payments.rows, None, risk).values


def train(payments: Payments, as_of_day: int, settings: Settings) -> FraudModel:
    """A model as the daily run would train it at the end of ``as_of_day``, without its search and without SMOTE."""
    as_of_ms = (FIRST_DAY + as_of_day) * DAY_MS
    known = payments.rows.filter(pl.col("event_time_ms") < as_of_ms)
    rows = build_training_set(known, payments.labels, as_of_ms, settings)
    train, validation = (rows.filter(pl.col("split") == part) for part in ("train", "validation"))
    booster = refit(balance(train, FEATURES, 0.0, settings.seed), FEATURES, DEFAULTS, settings.seed)
    card = ModelCard(1.0, float(train["is_fraud"].mean()), time_split(as_of_ms, settings).train)
    is_fraud, cards = validation["is_fraud"].to_numpy(), validation["user_id"]
    raw = FraudModel(booster, card).raw_score(validation.select(FEATURES).to_numpy())
    calibration = calibrate(is_fraud, raw, cards)
    threshold = choose_threshold(is_fraud, calibration.apply(raw), cards, seed=settings.seed).value
    card = ModelCard(threshold, card.base_rate, card.training_window, calibration=calibration)
    return FraudModel.with_detector(booster, card, fit_anomaly_detector(train, settings.anomaly_share, settings.seed))
