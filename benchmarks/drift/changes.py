"""What may happen to traffic: each change begins on FIRST_CHANGED_DAY and stays."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from benchmarks.drift.scene import FIRST_DAY, Payments, features_of, simulate, train
from fraud_core.features.table import FEATURES
from fraud_core.model.fraud_model import FraudModel
from fraud_core.monitoring.drift import REFERENCE_DAYS, SCORE
from fraud_core.settings import Settings

TRAINED_DAY, FIRST_CHANGED_DAY, DAYS = 90, 110, 130


@dataclass(frozen=True)
class Scene:
    """Payments of DAYS days, a model trained as of TRAINED_DAY, and the features the stream serves of them."""

    customers: int
    seed: int
    settings: Settings
    model: FraudModel
    payments: Payments
    values: np.ndarray

    def rows(self) -> pl.DataFrame:
        """event_time_ms, FEATURES and the score of the reference's days and those after."""
        is_shown = self.payments.day >= TRAINED_DAY - REFERENCE_DAYS
        values = self.values[is_shown]
        columns = dict(zip(FEATURES, values.T, strict=True))
        return (
            self.payments.rows.select("event_time_ms")
            .filter(is_shown)
            .with_columns(**columns, **{SCORE: self._score(values)})
        )

    def _score(self, values: np.ndarray) -> pl.Series:
        return pl.Series(self.model.score(values))


Change = Callable[[Scene], Scene]


def date_of(day: int) -> date:
    return date(1970, 1, 1) + timedelta(days=FIRST_DAY + day)


def stable_scene(customers: int, seed: int, settings: Settings) -> Scene:
    payments = simulate(customers, seed, DAYS, {})
    model = train(payments, TRAINED_DAY, settings)
    return Scene(customers, seed, settings, model, payments, features_of(payments, settings))


def _is_changed(scene: Scene) -> np.ndarray:
    return scene.payments.day >= FIRST_CHANGED_DAY


def _sent(scene: Scene, payments: Payments) -> Scene:
    values = features_of(payments, scene.settings)
    return Scene(scene.customers, scene.seed, scene.settings, scene.model, payments, values)


def _rows(**columns: pl.Expr) -> Change:
    """The rows' ``columns`` are others from the first changed day on."""

    def change(scene: Scene) -> Scene:
        is_changed = pl.Series(_is_changed(scene))
        changed = {name: pl.when(is_changed).then(value).otherwise(name) for name, value in columns.items()}
        rows = scene.payments.rows.with_columns(**changed)
        return _sent(scene, Payments(rows, scene.payments.kind, scene.payments.labels))

    return change


def _campaigns(pattern: str, times: float) -> Change:
    """``times`` the usual campaigns of a kind of fraud; of a new kind, which has none before, those it would have."""

    def change(scene: Scene) -> Scene:
        return _sent(scene, simulate(scene.customers, scene.seed, DAYS, {pattern: {FIRST_CHANGED_DAY: times}}))

    return change


def _constant(feature: str) -> Change:
    """The feature is computed as 0."""

    def change(scene: Scene) -> Scene:
        values = scene.values.copy()
        values[_is_changed(scene), FEATURES.index(feature)] = 0.0
        return Scene(scene.customers, scene.seed, scene.settings, scene.model, scene.payments, values)

    return change


def _amounts(factor: float) -> pl.Expr:
    return (pl.col("amount_minor") * factor).round().cast(pl.Int64)


CHANGES: dict[str, Change] = {
    "amounts x 1.1": _rows(amount_minor=_amounts(1.1)),
    "amounts x 1.05": _rows(amount_minor=_amounts(1.05)),
    "amounts x 1.02": _rows(amount_minor=_amounts(1.02)),
    "card tests x 25": _campaigns("card_testing", 25.0),
    "card tests x 5": _campaigns("card_testing", 5.0),
    "a new kind (night bots)": _campaigns("night_bots", 1.0),
    "a new kind x 5": _campaigns("night_bots", 5.0),
    "no positions sent": _rows(latitude=pl.lit(None), longitude=pl.lit(None)),
    "rolling_avg_7d is 0": _constant("rolling_avg_7d"),
    "is_online is 0": _constant("is_online"),
    "merchant_fraud_rate_1d is 0": _constant("merchant_fraud_rate_1d"),
}
