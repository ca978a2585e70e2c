"""How good a model is on rows it has never seen: the metrics of one scored period, and the points its plots need.

Definitions follow Le Borgne et al., Reproducible Machine Learning for Credit Card Fraud Detection. A metric undefined
for the rows is an error, and precision without an alert is NaN: a made-up 0 would be mistaken for a measurement.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import polars as pl
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from fraud_core.evaluation.ranking import Ranking, f_beta
from fraud_core.timestamps import DAY_MS

CURVE_POINTS = 500
BUDGETS = tuple(range(10, 501, 10))
CALIBRATION_BINS = 10


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a scored period. Rates are shares from 0 to 1; the alert budget is ``k`` a day."""

    threshold: float
    transactions: int
    frauds: int
    base_rate: float
    average_precision: float
    roc_auc: float
    brier: float
    log_loss: float
    precision: float
    recall: float
    f2: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    value_caught: float
    k: int
    card_precision_at_k: float
    repeated_card_precision_at_k: float
    alert_precision_at_k: float
    alert_recall_at_k: float
    curve: pl.DataFrame = field(compare=False)
    calibration: pl.DataFrame = field(compare=False)

    def metrics(self) -> dict[str, float]:
        """Every number by name, with k in the name: ``card_precision_at_100``."""
        numbers = {name: float(value) for name, value in vars(self).items() if isinstance(value, int | float)}
        k = int(numbers.pop("k"))
        return {name.replace("_at_k", f"_at_{k}"): value for name, value in numbers.items()}


def evaluate(rows: pl.DataFrame, scores: np.ndarray, threshold: float | np.ndarray, *, k: int = 100) -> Evaluation:
    """Measure ``scores`` against the labels.

    rows : user_id Utf8, event_time_ms Int64, value_minor Int64 (null without a rate), is_fraud Boolean without nulls.
    scores : (n,) float64 in [0, 1]. A row is flagged when its score >= threshold.
    threshold : one for all, or (n,) one per row where rows come from several models; their mean is reported.
    k : cards, or alerts, that can be investigated per day (UTC).
    ``curve`` has threshold, precision, recall, f2, from the highest threshold down, thinned out to about 500 points.
    ``calibration`` has score_from, transactions, mean_score, fraud_rate for each tenth of [0, 1] that holds rows.
    ``card_precision_at_k`` is the handbook's: a card found on one day is blocked. In ``repeated_card_precision_at_k``
    it is investigated, and counted, again on later days.
    ``value_caught`` is the flagged share of what the frauds with an exchange rate are worth; NaN without one.
    ``precision`` is NaN when no score reaches the threshold.
    ValueError when the rows are of one class or a score is outside [0, 1].
    """
    is_fraud = rows["is_fraud"].to_numpy()
    ranking = Ranking.of(is_fraud, scores)
    if scores.min() < 0 or scores.max() > 1:
        raise ValueError(f"scores lie between {scores.min():g} and {scores.max():g}; they must lie within 0 and 1")
    is_flagged = scores >= threshold
    caught, flagged, frauds = int(is_fraud[is_flagged].sum()), int(is_flagged.sum()), int(is_fraud.sum())
    fraud_minor = rows["value_minor"].fill_null(0).to_numpy()[is_fraud]
    fraud_sum, caught_sum = int(fraud_minor.sum()), int(fraud_minor[is_flagged[is_fraud]].sum())
    alert_precision, alert_recall = alerts_at_k(rows, scores, k)
    return Evaluation(
        threshold=float(np.mean(threshold)),
        transactions=rows.height,
        frauds=frauds,
        base_rate=frauds / rows.height,
        average_precision=float(average_precision_score(is_fraud, scores)),
        roc_auc=float(roc_auc_score(is_fraud, scores)),
        brier=float(brier_score_loss(is_fraud, scores)),
        log_loss=float(log_loss(is_fraud, scores)),
        precision=caught / flagged if flagged else math.nan,
        recall=caught / frauds,
        f2=5 * caught / (4 * frauds + flagged),
        true_positives=caught,
        false_positives=flagged - caught,
        false_negatives=frauds - caught,
        true_negatives=rows.height - frauds - flagged + caught,
        value_caught=caught_sum / fraud_sum if fraud_sum else math.nan,
        k=k,
        card_precision_at_k=card_precision_at_k(rows, scores, k, without_detected=True),
        repeated_card_precision_at_k=card_precision_at_k(rows, scores, k),
        alert_precision_at_k=alert_precision,
        alert_recall_at_k=alert_recall,
        curve=_curve(ranking),
        calibration=_calibration(is_fraud, scores),
    )


def card_precision_at_k(rows: pl.DataFrame, scores: np.ndarray, k: int, *, without_detected: bool = False) -> float:
    """Mean over days of the share of defrauded cards among the k cards with the highest maximum score of that day.

    Days with fewer than k cards are still divided by k. Of equal scores the lower user_id comes first.
    without_detected : a card found defrauded among the k of one day is blocked, and left out of later days.
    """
    cards = (
        _by_day(rows, scores)
        .group_by("day", "user_id")
        .agg(pl.col("score").max(), pl.col("is_fraud").any())
        .sort("day", "score", "user_id", descending=[False, True, False])
    )
    blocked: set[str] = set()
    found = []
    for day in cards.partition_by("day", maintain_order=True):
        suspicious = day.filter(~pl.col("user_id").is_in(blocked)).head(k)
        defrauded = suspicious.filter("is_fraud")["user_id"]
        found.append(len(defrauded))
        if without_detected:
            blocked.update(defrauded)
    return float(np.mean(found)) / k


def alerts_at_k(rows: pl.DataFrame, scores: np.ndarray, k: int) -> tuple[float, float]:
    """Precision and recall when the k transactions with the highest scores of each day are investigated.

    Of equal scores the earlier row comes first. Precision is over all alerts, recall over all frauds of the period.
    """
    ranked = _by_day(rows, scores).sort("day", "score", descending=[False, True], maintain_order=True)
    alerts = ranked.group_by("day", maintain_order=True).head(k)["is_fraud"]
    return cast(float, alerts.mean()), int(alerts.sum()) / int(rows["is_fraud"].sum())


def budget_curve(rows: pl.DataFrame, scores: np.ndarray, budgets: Sequence[int] = BUDGETS) -> pl.DataFrame:
    """What investigating k cards, or k transactions, a day yields: a row for each k of ``budgets``.

    Returns k, card_precision (found cards are blocked), alert_precision and alert_recall (as alerts_at_k), and
    caught_minor, what the frauds among the alerts are worth.
    """
    scored = _by_day(rows, scores).with_columns(rows["value_minor"])
    rank = pl.int_range(1, pl.len() + 1).over("day").alias("rank")
    alerts = scored.sort("day", "score", descending=[False, True], maintain_order=True).select(
        rank, "is_fraud", pl.col("value_minor") * pl.col("is_fraud")
    )
    by_budget = []
    for k in budgets:
        looked_into = alerts.filter(pl.col("rank") <= k)
        found = int(looked_into["is_fraud"].sum())
        by_budget.append(
            {
                "k": k,
                "card_precision": card_precision_at_k(rows, scores, k, without_detected=True),
                "alert_precision": found / looked_into.height,
                "alert_recall": found / int(rows["is_fraud"].sum()),
                "caught_minor": int(looked_into["value_minor"].sum()),
            }
        )
    return pl.DataFrame(by_budget)


def _by_day(rows: pl.DataFrame, scores: np.ndarray) -> pl.DataFrame:
    return rows.select(
        (pl.col("event_time_ms") // DAY_MS).alias("day"), "user_id", "is_fraud", pl.Series("score", scores)
    )


def _curve(ranking: Ranking) -> pl.DataFrame:
    caught, flagged = ranking.counts()
    # Even steps in rank would spend nearly all points on the genuine rows; even steps in recall show the curve.
    steps = np.searchsorted(caught, np.linspace(1, caught[-1], CURVE_POINTS))
    shown = np.unique(np.append(steps, len(caught) - 1))
    return pl.DataFrame(
        {
            "threshold": ranking.thresholds[shown],
            "precision": caught[shown] / flagged[shown],
            "recall": caught[shown] / caught[-1],
            "f2": f_beta(caught, flagged, 2.0)[shown],
        }
    )


def _calibration(is_fraud: np.ndarray, scores: np.ndarray) -> pl.DataFrame:
    scored = pl.DataFrame({"score": scores, "is_fraud": is_fraud})
    tenth = (pl.col("score") * CALIBRATION_BINS).floor().clip(upper_bound=CALIBRATION_BINS - 1) / CALIBRATION_BINS
    return (
        scored.group_by(tenth.alias("score_from"))
        .agg(
            pl.len().alias("transactions"),
            pl.col("score").mean().alias("mean_score"),
            pl.col("is_fraud").mean().alias("fraud_rate"),
        )
        .sort("score_from")
    )
