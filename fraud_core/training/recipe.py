"""The training recipe: which steps make a model of labelled rows, in which order, with which settings and seed.

SMOTE ratio → balanced rows → search → trees and anomaly detector → calibration → threshold. The assets take one step
each and keep what it returns; ``train`` takes them all. How a step computes is in that step's module.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import polars as pl
from xgboost import Booster

from fraud_core.features.table import FEATURES
from fraud_core.model.anomaly import fit_anomaly_detector
from fraud_core.model.calibration import Calibration, calibrate
from fraud_core.model.fraud_model import FraudModel, ModelCard
from fraud_core.model.threshold import Threshold, choose_threshold
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS
from fraud_core.training.balancing import balance
from fraud_core.training.search import RatioChoice, SearchProgress, Tuning, choose_smote_ratio, refit, tune
from fraud_core.training.split import Period, PurgedTimeSeriesSplit

# Until a threshold is chosen: no score is above it.
FLAGS_NOTHING = 1.0

Params = dict[str, float | int]


@dataclass(frozen=True)
class Trained:
    """What each step of a training returned. tuning : with an empty table where the parameters were given.

    balanced : as ``balancing.balance`` returns it. model : complete, with calibration and threshold in its card.
    """

    smote_ratio: float
    balanced: pl.DataFrame
    tuning: Tuning
    threshold: Threshold
    model: FraudModel


def train(
    rows: pl.DataFrame,
    window: Period,
    settings: Settings,
    *,
    smote_ratio: float | None = None,
    params: Params | None = None,
    with_detector: bool = True,
    step: Callable[[str], AbstractContextManager[None]] = lambda name: nullcontext(),
    progress: SearchProgress | None = None,
) -> Trained:
    """All steps. Same rows, settings, ratio and parameters: the same model bytes.

    rows : as ``build_training_set`` returns them; the test rows are not looked at. window : event times in ms of the
    training rows. smote_ratio, params : chosen on the training rows where they are not given. step : entered around
    "smote ratio", "search", "fit" and "threshold".
    ValueError when there are too few frauds, or too few days for the folds.
    """
    training, validation = (rows.filter(pl.col("split") == name) for name in ("train", "validation"))
    with step("smote ratio"):
        if smote_ratio is None:
            smote_ratio = choose_ratio(training, settings).ratio
        balanced = balance_rows(training, smote_ratio, settings)
    with step("search"):
        tuning = search_params(balanced, settings, progress) if params is None else Tuning(params, pl.DataFrame())
    with step("fit"):
        model = fit_model(balanced, tuning.params, window, settings, with_detector=with_detector)
    with step("threshold"):
        raw = raw_scores(model, validation)
        calibration = fit_calibration(validation, raw)
        threshold = pick_threshold(validation, calibration.apply(raw), settings)
    card = replace(model.card, calibration=calibration, threshold=threshold.value)
    return Trained(smote_ratio, balanced, tuning, threshold, FraudModel(model.booster, card))


def choose_ratio(training: pl.DataFrame, settings: Settings) -> RatioChoice:
    """training : rows of the training period; event_time_ms, is_fraud, FEATURES."""
    return choose_smote_ratio(
        training, FEATURES, gap_ms=_gap_ms(settings), folds=settings.search_folds, seed=settings.seed
    )


def balance_rows(training: pl.DataFrame, smote_ratio: float, settings: Settings) -> pl.DataFrame:
    """The training rows, then synthetic frauds, as ``balancing.balance`` returns them."""
    return balance(training, FEATURES, smote_ratio, settings.seed)


def search_params(balanced: pl.DataFrame, settings: Settings, progress: SearchProgress | None = None) -> Tuning:
    return tune(
        balanced,
        FEATURES,
        gap_ms=_gap_ms(settings),
        candidates=settings.search_candidates,
        folds=settings.search_folds,
        seed=settings.seed,
        progress=progress,
    )


def search_folds(rows: pl.DataFrame, settings: Settings) -> PurgedTimeSeriesSplit:
    """How the search splits ``rows``: event_time_ms, is_fraud."""
    event_time_ms, is_fraud = (rows[name].to_numpy() for name in ("event_time_ms", "is_fraud"))
    return PurgedTimeSeriesSplit(event_time_ms, is_fraud, settings.search_folds, _gap_ms(settings))


def grow_trees(balanced: pl.DataFrame, params: Params, settings: Settings) -> Booster:
    """The trees of a model, on the balanced set or on its real rows alone."""
    return refit(balanced, FEATURES, params, settings.seed)


def fit_model(
    balanced: pl.DataFrame, params: Params, window: Period, settings: Settings, *, with_detector: bool = True
) -> FraudModel:
    """Trees and, grown on the real rows, the anomaly detector. Neither calibrated nor with a threshold yet."""
    booster = grow_trees(balanced, params, settings)
    real = balanced.filter(~pl.col("is_synthetic"))
    base_rate = cast(float, real["is_fraud"].mean())
    card = ModelCard(FLAGS_NOTHING, base_rate, window, params=params, currency=settings.currency)
    if not with_detector:
        return FraudModel(booster, card)
    return FraudModel.with_detector(booster, card, fit_anomaly_detector(real, settings.anomaly_share, settings.seed))


def raw_scores(model: FraudModel, rows: pl.DataFrame) -> np.ndarray:
    """(n,) float64, before calibration. rows : FEATURES."""
    return model.raw_score(rows.select(FEATURES).to_numpy())


def fit_calibration(validation: pl.DataFrame, raw: np.ndarray) -> Calibration:
    """validation : user_id, is_fraud. raw : (n,) what ``raw_scores`` says of the same rows."""
    return calibrate(validation["is_fraud"].to_numpy(), raw, validation["user_id"])


def pick_threshold(validation: pl.DataFrame, scores: np.ndarray, settings: Settings) -> Threshold:
    """validation : user_id, is_fraud. scores : (n,) calibrated, of the same rows."""
    return choose_threshold(validation["is_fraud"].to_numpy(), scores, validation["user_id"], seed=settings.seed)


def _gap_ms(settings: Settings) -> int:
    return settings.label_delay_days * DAY_MS
