"""Simulated payments whose kinds of fraud begin when the experiment says so, and a model trained before they do.

The habits and the frauds are the simulator's (fraud_core.simulation); here they are put together anew, because an
experiment must know which kind each fraud is of, and may leave one out or send more of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from fraud_core.anomaly import fit_anomaly_detector
from fraud_core.calibration import calibrate
from fraud_core.features import FEATURES, compute_features
from fraud_core.labels import LABEL_COLUMNS
from fraud_core.merchant_risk import MerchantHistory
from fraud_core.model import FraudModel, ModelCard
from fraud_core.settings import Settings
from fraud_core.simulation.events import Events, concat
from fraud_core.simulation.feedback import feedback
from fraud_core.simulation.fraud_patterns import LONGEST_DAYS, PATTERNS
from fraud_core.simulation.population import CATEGORIES, Population, make_population
from fraud_core.simulation.spending import genuine_day
from fraud_core.split import TimeSplit
from fraud_core.threshold import choose_threshold
from fraud_core.timestamps import DAY_MS
from fraud_core.training_set import build_training_set
from fraud_core.transaction import COLUMNS
from fraud_core.tuning import DEFAULTS, refit

FIRST_DAY = 20_454  # 2026-01-01
GENUINE = "genuine"


@dataclass(frozen=True)
class Payments:
    """rows : transaction.COLUMNS in order of arrival. kind : (n,) pattern of each row, or GENUINE.

    labels : labels.LABEL_COLUMNS, also those that become known after the last row.
    """

    rows: pl.DataFrame
    kind: pl.Series
    labels: pl.DataFrame

    @property
    def day(self) -> np.ndarray:
        """(n,) days since the first one."""
        return self.rows["event_time_ms"].to_numpy() // DAY_MS - FIRST_DAY


def simulate(customers: int, seed: int, days: int, campaigns: Mapping[str, Mapping[int, float]]) -> Payments:
    """``days`` days of payments. ``campaigns``: of a pattern, from which day on it has how often its usual rate."""
    population = make_population(customers, seed)
    names = [GENUINE, *(pattern.name for pattern in PATTERNS)]
    parts, kinds = [], []
    for day in range(FIRST_DAY - LONGEST_DAYS, FIRST_DAY + days):
        if day >= FIRST_DAY:
            parts.append(genuine_day(population, day))
            kinds.append(np.zeros(len(parts[-1]), np.int64))
        for number, pattern in enumerate(PATTERNS, start=1):
            rng = np.random.default_rng([seed, 3, day, number])
            rates = campaigns.get(pattern.name, {})
            usual = (0, 0.0 if pattern.is_new else 1.0)
            times = max(((at, rate) for at, rate in rates.items() if at <= day - FIRST_DAY), default=usual)[1]
            for _ in range(rng.poisson(times * pattern.campaigns * customers / 1000)):
                parts.append(pattern.draw(population, day, rng))
                kinds.append(np.full(len(parts[-1]), number))
    events, kind = concat(parts), np.concatenate(kinds)
    order = np.argsort(events.time_ms, kind="stable")
    day = events.time_ms[order] // DAY_MS - FIRST_DAY
    order = order[(day >= 0) & (day < days)]
    events, kind = events[order], pl.Series(names).gather(kind[order])
    rows = _named(population, events, np.random.default_rng([seed, 4]))
    known = feedback(rows["transaction_id"], events.is_fraud, events.time_ms, np.random.default_rng([seed, 5]))
    arrival = {"partition": pl.lit(0, pl.Int32), "offset": pl.int_range(pl.len(), dtype=pl.Int64)}
    labels = known.sort("label_time_ms", "transaction_id").with_columns(**arrival).select(list(LABEL_COLUMNS))
    return Payments(rows, kind, labels)


def _named(population: Population, events: Events, rng: np.random.Generator) -> pl.DataFrame:
    merchants, n = population.merchants, len(events)
    is_online = pl.Series(events.merchant >= merchants.first_online)
    channel = np.where(is_online, 2, rng.random(n) < 0.6)
    columns = {
        "partition": pl.repeat(0, n, dtype=pl.Int32),
        "offset": pl.int_range(n),
        "ingest_time_ms": pl.Series(events.time_ms),
        "transaction_id": pl.format("t-{}", pl.int_range(n)),
        "user_id": population.customers.ids.gather(events.customer),
        "merchant_id": merchants.ids.gather(events.merchant),
        "amount_cents": pl.Series(events.amount_cents),
        "currency": pl.repeat("EUR", n),
        "event_time_ms": pl.Series(events.time_ms),
        "merchant_category": pl.Series(list(CATEGORIES)).gather(merchants.category[events.merchant]),
        "channel": pl.Series(["chip", "contactless", "online"]).gather(channel),
        "country": pl.Series(merchants.country[events.merchant]),
        "latitude": pl.Series(merchants.latitude[events.merchant]).fill_nan(None),
        "longitude": pl.Series(merchants.longitude[events.merchant]).fill_nan(None),
        "device_id": pl.when(is_online).then(pl.format("d-{}", pl.Series(events.device))),
    }
    return pl.select(**columns).select(pl.col(name).cast(kind) for name, kind in COLUMNS.items())


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
    booster = refit(train.with_columns(is_synthetic=pl.lit(False)), FEATURES, DEFAULTS, settings.seed)
    split = TimeSplit.as_of(
        as_of_ms,
        label_delay_days=settings.label_delay_days,
        validation_days=settings.validation_days,
        test_days=settings.test_days,
        training_window_days=settings.training_window_days,
    )
    card = ModelCard(1.0, float(train["is_fraud"].mean()), split.train)
    is_fraud, cards = validation["is_fraud"].to_numpy(), validation["user_id"]
    raw = FraudModel(booster, card).raw_score(validation.select(FEATURES).to_numpy())
    calibration = calibrate(is_fraud, raw, cards)
    threshold = choose_threshold(is_fraud, calibration.apply(raw), cards, seed=settings.seed).value
    card = ModelCard(threshold, card.base_rate, card.training_window, calibration=calibration)
    return FraudModel.with_detector(booster, card, fit_anomaly_detector(train, settings.anomaly_share, settings.seed))
