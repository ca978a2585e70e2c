import numpy as np
import polars as pl

from fraud_core.decisions.prediction_table import PREDICTION_COLUMNS
from fraud_core.features.table import FEATURES
from fraud_core.promotion.rollback import FRESH_DAYS, decisions_of, fresh_until_ms, rollback_gate
from fraud_core.timestamps import DAY_MS

N, FRAUDS = 20_000, 200


def decided(recall: float, false_alerts: int = 100, seed: int = 1, frauds: int = FRAUDS) -> pl.DataFrame:
    """Decisions with labels: frauds of 3 payments a card, of which a share is flagged."""
    rng = np.random.default_rng(seed)
    is_fraud = np.arange(N) < frauds
    users = np.where(is_fraud, np.arange(N) // 3, rng.integers(1000, 3000, N)).astype(str)
    flagged = np.where(is_fraud, rng.random(N) < recall, np.arange(N) >= N - false_alerts)
    return pl.DataFrame({"user_id": users, "is_fraud": is_fraud, "value_minor": np.full(N, 100), "is_flagged": flagged})


def test_a_champion_that_does_worse_than_the_one_before_and_that_one_would_not_is_rolled_back():
    fresh, previous = decided(0.3), decided(0.8, seed=2)
    verdict = rollback_gate(fresh, previous, decided(0.8, seed=3)["is_flagged"].to_numpy())
    assert verdict.action == "roll back"
    assert verdict.figures["f2"] < verdict.figures["previous_f2_low"]
    assert verdict.figures["f2_gain_of_going_back_low"] > 0
    assert "would have had F2" in verdict.reasons[1]


def test_a_time_in_which_every_model_does_worse_is_no_reason_to_go_back():
    fresh = decided(0.3)
    verdict = rollback_gate(fresh, decided(0.8, seed=2), fresh["is_flagged"].to_numpy())
    assert verdict.figures["f2"] < verdict.figures["previous_f2_low"]
    assert verdict.action == "wait"


def test_a_champion_within_the_interval_of_the_one_before_stays_although_that_one_would_do_better():
    verdict = rollback_gate(decided(0.8), decided(0.8, seed=2), decided(0.95, seed=3)["is_flagged"].to_numpy())
    assert verdict.figures["f2_gain_of_going_back_low"] > 0
    assert verdict.action == "wait"


def test_few_frauds_say_nothing():
    few, many = decided(0.0, frauds=40), decided(0.9, seed=2)
    assert "has decided 40 payments known as fraud" in rollback_gate(few, many, np.ones(N, bool)).reasons[0]
    assert rollback_gate(many, few, np.ones(N, bool)).action == "wait"


def test_equally_good_models_are_hardly_ever_rolled_back():
    rolled = []
    for seed in range(20):
        fresh, previous, instead = (decided(0.7, seed=seed + number) for number in (0, 100, 200))
        rolled.append(rollback_gate(fresh, previous, instead["is_flagged"].to_numpy(), resamples=50).action)
    assert rolled.count("roll back") <= 1


def test_decisions_are_those_of_the_version_as_champion_while_it_was_in_production():
    rows = [
        (version, arm, ingest)
        for ingest in (0, 10, 20, 30)
        for version, arm in (("1", "champion"), ("2", "champion"), ("2", "challenger"))
    ]
    served = pl.DataFrame(
        {
            "transaction_id": [str(i) for i in range(len(rows))],
            "user_id": "u",
            "event_time_ms": [1000 - ingest for *_, ingest in rows],
            "ingest_time_ms": [ingest for *_, ingest in rows],
            "prediction": 1,
            "model_version": [version for version, *_ in rows],
            "arm": [arm for _, arm, _ in rows],
            "partition": 0,
            "offset": range(len(rows)),
            "rate_missing": False,
            **dict.fromkeys(FEATURES, 2.5),
        },
        schema_overrides={name: kind for name, kind in PREDICTION_COLUMNS.items() if name not in ("arm",)},
    )
    found = decisions_of(served, "2", 10, 30, "EUR")
    assert found["event_time_ms"].to_list() == [990, 980]
    assert found["value_minor"].to_list() == [250, 250]
    assert found["is_flagged"].all()
    assert fresh_until_ms(found) == 990 + FRESH_DAYS * DAY_MS
