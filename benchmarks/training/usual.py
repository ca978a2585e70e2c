"""The usual recipe, as notebooks have it: pandas rolling windows, SMOTE 1:1, then a random split and a random search.

Its features are computed without looking ahead, so what it claims too much comes from balancing and splitting alone.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import polars as pl
from imblearn.over_sampling import SMOTE
from sklearn.metrics import average_precision_score, fbeta_score, precision_recall_curve
from sklearn.model_selection import GridSearchCV, ParameterSampler, train_test_split
from xgboost import XGBClassifier

from benchmarks.handbook import CURRENCY
from benchmarks.training.meter import Meter
from fraud_core.money import minor_units, to_major_units
from fraud_core.timestamps import DAY_MS

CANDIDATES = 20
FOLDS = 3
USER_WINDOWS = ("1h", "24h", "7d", "30d")
MERCHANT_DAYS = (1, 7, 30)
SPACE = {
    "n_estimators": [100, 200, 300],
    "max_depth": [4, 6, 8],
    "learning_rate": [0.05, 0.1, 0.2],
    "subsample": [0.7, 0.85, 1.0],
    "colsample_bytree": [0.7, 0.85, 1.0],
}


@dataclass(frozen=True)
class Usual:
    """Average precision and F2 on its own random split, and on the later period."""

    claimed_average_precision: float
    claimed_f2: float
    average_precision: float
    f2: float


def usual_features(transactions: pl.DataFrame, is_fraud: np.ndarray, delay_days: int) -> pd.DataFrame:
    """One row per transaction, in its order. transactions : user_id, merchant_id, event_time_ms, amount_minor."""
    rows = transactions.select("user_id", "merchant_id").to_pandas()
    rows["amount"] = to_major_units(transactions["amount_minor"].to_numpy(), minor_units(CURRENCY))
    rows["time"] = pd.to_datetime(transactions["event_time_ms"].to_numpy(), unit="ms")
    rows["fraud"] = is_fraud.astype(float)
    features = pd.DataFrame({"amount": rows["amount"], "hour": rows["time"].dt.hour, "day": rows["time"].dt.dayofweek})

    by_user = rows.sort_values(["user_id", "time"], kind="stable")
    amounts = by_user.set_index("time").groupby("user_id")["amount"]
    for window in USER_WINDOWS:
        rolled = amounts.rolling(window).agg(["count", "sum", "mean", "std"]).fillna(0.0).set_index(by_user.index)
        features = features.join(rolled.add_prefix(f"user_{window}_"))
        features[f"amount_to_mean_{window}"] = rows["amount"] / features[f"user_{window}_mean"]
    gap = by_user.groupby("user_id")["time"].diff().dt.total_seconds()
    features["seconds_since_last"] = gap.fillna(30 * 86_400)

    by_merchant = rows.sort_values(["merchant_id", "time"], kind="stable")
    frauds = by_merchant.set_index("time").groupby("merchant_id")["fraud"]

    def until_now(days: int) -> pd.DataFrame:
        return frauds.rolling(f"{days}d").agg(["count", "sum"]).set_index(by_merchant.index)

    unknown = until_now(delay_days)
    for days in MERCHANT_DAYS:
        known = until_now(delay_days + days) - unknown
        features[f"merchant_{days}d_count"] = known["count"]
        features[f"merchant_{days}d_risk"] = (known["sum"] / known["count"]).fillna(0.0)
    return features


def spread(candidates: int) -> list[dict]:
    """So many of the 20 that RandomizedSearchCV would draw, evenly from cheap to dear, as values for GridSearchCV."""
    drawn = list(ParameterSampler(SPACE, CANDIDATES, random_state=0))
    drawn.sort(key=lambda params: params["n_estimators"] * params["max_depth"])
    chosen = (np.arange(candidates) + 0.5) * CANDIDATES / candidates
    return [{name: [value] for name, value in drawn[int(rank)].items()} for rank in chosen]


def usual_recipe(
    transactions: pl.DataFrame,
    is_fraud: np.ndarray,
    later: tuple[int, int],
    meter: Meter,
    *,
    delay_days: int,
    candidates: int = CANDIDATES,
) -> Usual:
    """Train on all that was labelled when the period ``later`` ([start, end) in ms) began, and score that period.

    candidates : tried in the search, of the 20 that the recipe has.
    """
    with meter.step("features"):
        features = usual_features(transactions, is_fraud, delay_days)
    times = transactions["event_time_ms"].to_numpy()
    is_past = times < later[0] - delay_days * DAY_MS
    is_later = (times >= later[0]) & (times < later[1])
    with meter.step("SMOTE 1:1 over everything"):
        balanced, labels = SMOTE(random_state=0).fit_resample(features[is_past], is_fraud[is_past].astype(np.int8))
    with meter.step("random split"):
        train, test, y_train, y_test = train_test_split(
            balanced, labels, test_size=0.2, stratify=labels, random_state=0
        )
        del balanced, labels
    with meter.step("search"):
        search = GridSearchCV(
            # One thread a fit, as in the daily run: threads that wait for each other would cost it more.
            XGBClassifier(tree_method="hist", n_jobs=1, random_state=0),
            spread(candidates),
            scoring="average_precision",
            cv=FOLDS,
            n_jobs=2,
            refit=False,
        ).fit(train, y_train)
    with meter.step("refit"):
        model = XGBClassifier(tree_method="hist", n_jobs=1, random_state=0, **search.best_params_).fit(train, y_train)
    with meter.step("threshold and evaluation"):
        scores = model.predict_proba(test)[:, 1]
        precision, recall, thresholds = precision_recall_curve(y_test, scores)
        f2 = 5 * precision * recall / np.maximum(4 * precision + recall, 1e-9)
        threshold = thresholds[np.argmax(f2[:-1])]
        honest = model.predict_proba(features[is_later])[:, 1]
        return Usual(
            claimed_average_precision=float(average_precision_score(y_test, scores)),
            claimed_f2=float(f2[:-1].max()),
            average_precision=float(average_precision_score(is_fraud[is_later], honest)),
            f2=float(fbeta_score(is_fraud[is_later], honest >= threshold, beta=2)),
        )
