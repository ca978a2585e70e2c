import numpy as np
import polars as pl
import pytest
from sklearn.metrics import fbeta_score, precision_score, recall_score

from fraud_core.evaluation.report import alerts_at_k, card_precision_at_k, evaluate
from fraud_core.timestamps import DAY_MS


def rows_of(*rows: tuple[int, str, int, bool, float]) -> tuple[pl.DataFrame, np.ndarray]:
    """Rows of (day, user_id, value_minor, is_fraud, score)."""
    names = ("event_time_ms", "user_id", "value_minor", "is_fraud", "score")
    frame = pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.col("event_time_ms") * DAY_MS)
    return frame.drop("score"), frame["score"].to_numpy()


TWO_DAYS = rows_of(
    (0, "ann", 1_000, True, 0.9),
    (0, "ann", 2_000, False, 0.1),
    (0, "bob", 3_000, False, 0.8),
    (0, "cyd", 4_000, True, 0.2),
    (1, "ann", 5_000, True, 0.7),
    (1, "bob", 6_000, False, 0.6),
    (1, "dan", 7_000, True, 0.3),
)


def test_the_metrics_of_a_small_period_are_those_worked_out_by_hand():
    evaluation = evaluate(*TWO_DAYS, threshold=0.7, k=2)
    assert evaluation.metrics() == {
        "threshold": 0.7,
        "transactions": 7.0,
        "frauds": 4.0,
        "base_rate": 4 / 7,
        "average_precision": pytest.approx((1 + 2 / 3 + 3 / 5 + 4 / 6) / 4),
        "roc_auc": pytest.approx(7 / 12),
        "brier": pytest.approx((0.01 + 0.01 + 0.64 + 0.64 + 0.09 + 0.36 + 0.49) / 7),
        "log_loss": pytest.approx(-np.log([0.9, 0.9, 0.2, 0.2, 0.7, 0.4, 0.3]).mean()),
        "precision": 2 / 3,
        "recall": 2 / 4,
        "f2": 5 * 2 / (4 * 4 + 3),
        "true_positives": 2.0,
        "false_positives": 1.0,
        "false_negatives": 2.0,
        "true_negatives": 2.0,
        "value_caught": 6_000 / 17_000,
        "card_precision_at_2": 2 / 4,
        "repeated_card_precision_at_2": 2 / 4,
        "alert_precision_at_2": 2 / 4,
        "alert_recall_at_2": 2 / 4,
    }


def test_a_card_counts_with_its_highest_score_and_as_defrauded_by_any_of_its_rows():
    rows, scores = rows_of((0, "ann", 100, False, 0.9), (0, "ann", 100, True, 0.1), (0, "bob", 100, False, 0.5))
    assert card_precision_at_k(rows, scores, 1) == 1.0


def test_a_card_found_on_one_day_can_be_left_out_of_later_days():
    assert card_precision_at_k(*TWO_DAYS, 1) == 1.0
    assert card_precision_at_k(*TWO_DAYS, 1, without_detected=True) == 0.5  # day 1 then starts with bob
    assert card_precision_at_k(*TWO_DAYS, 2, without_detected=True) == 0.5  # bob and dan


def test_the_reported_card_precision_blocks_the_cards_that_were_found():
    evaluation = evaluate(*TWO_DAYS, threshold=0.7, k=1)
    assert evaluation.card_precision_at_k == 0.5
    assert evaluation.repeated_card_precision_at_k == 1.0


def test_a_day_with_fewer_cards_than_the_budget_is_divided_by_the_budget():
    assert card_precision_at_k(*TWO_DAYS, 100) == (2 + 2) / 2 / 100


def test_an_alert_budget_is_spent_on_the_highest_scores_of_each_day():
    assert alerts_at_k(*TWO_DAYS, 1) == (1.0, 0.5)
    assert alerts_at_k(*TWO_DAYS, 100) == (4 / 7, 1.0)


def simulated(rows: int) -> tuple[pl.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    is_fraud = rng.random(rows) < 0.02
    frame = pl.DataFrame(
        {
            "user_id": rng.integers(rows // 20, size=rows).astype(str),
            "event_time_ms": rng.integers(14 * DAY_MS, size=rows),
            "value_minor": rng.integers(1, 10_000, size=rows),
            "is_fraud": is_fraud,
        }
    )
    return frame, rng.beta(np.where(is_fraud, 4, 1), np.where(is_fraud, 2, 20)).round(3)


def test_the_curve_shows_the_measures_of_each_threshold_it_names():
    rows, scores = simulated(5_000)
    is_fraud = rows["is_fraud"].to_numpy()
    curve = evaluate(rows, scores, 0.3).curve
    assert curve["threshold"].is_sorted(descending=True)
    assert curve["recall"].is_sorted()
    assert curve.row(-1, named=True)["recall"] == 1.0
    for point in curve.gather_every(17).iter_rows(named=True):
        flagged = scores >= point["threshold"]
        assert point["precision"] == pytest.approx(precision_score(is_fraud, flagged), rel=1e-12)
        assert point["recall"] == pytest.approx(recall_score(is_fraud, flagged), rel=1e-12)
        assert point["f2"] == pytest.approx(fbeta_score(is_fraud, flagged, beta=2), rel=1e-12)


def test_the_calibration_bins_hold_every_row_once():
    rows, scores = simulated(5_000)
    scores[0] = 1.0
    calibration = evaluate(rows, scores, 0.3).calibration
    assert calibration["transactions"].sum() == 5_000
    in_bin = (calibration["mean_score"] >= calibration["score_from"]) & (
        calibration["mean_score"] <= calibration["score_from"] + 0.1 + 1e-9
    )
    assert in_bin.all()
    frauds = (calibration["fraud_rate"] * calibration["transactions"]).sum()
    assert frauds == pytest.approx(rows["is_fraud"].sum())


def test_without_an_alert_nothing_is_caught_and_there_is_no_precision():
    evaluation = evaluate(*TWO_DAYS, threshold=0.95)
    assert np.isnan(evaluation.precision)
    assert (evaluation.recall, evaluation.f2, evaluation.value_caught, evaluation.false_negatives) == (0, 0, 0, 4)


def test_what_cannot_be_measured_is_refused_and_never_reported_as_zero():
    rows, scores = TWO_DAYS
    with pytest.raises(ValueError, match="7 transactions, 0 of them fraud"):
        evaluate(rows.with_columns(is_fraud=False), scores, 0.5)
    with pytest.raises(ValueError, match="scores lie between 1 and 9; they must lie within 0 and 1"):
        evaluate(rows, scores * 10, 0.5)
    with pytest.raises(ValueError, match="7 labels for 6 scores"):
        evaluate(rows, scores[:6], 0.5)
