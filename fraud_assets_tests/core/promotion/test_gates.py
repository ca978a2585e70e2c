import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score

from fraud_core.promotion.gates import LEAST_FRAUDS, Trial, next_stage, offline_gate, shadow_gate

RNG = np.random.default_rng(0)
IS_FRAUD = RNG.random(20_000) < 0.01
CARDS = pl.Series(RNG.integers(700, size=20_000)).cast(pl.String)


def scores(skill: float, seed: int = 1) -> np.ndarray:
    """In (0, 1); with more skill frauds score higher, with 0 all score alike."""
    noise = np.random.default_rng(seed).normal(size=len(IS_FRAUD))
    return 1 / (1 + np.exp(4 - skill * IS_FRAUD - noise))


def test_a_first_model_that_beats_chance_passes_and_says_by_which_rules():
    gate = offline_gate(IS_FRAUD, CARDS, scores(3), 0.3)
    assert gate.passed
    assert gate.figures["candidate_average_precision"] == pytest.approx(average_precision_score(IS_FRAUD, scores(3)))
    assert gate.figures["base_rate"] == IS_FRAUD.mean()
    assert len(gate.reasons) == 5


def test_a_model_no_better_than_chance_fails():
    gate = offline_gate(IS_FRAUD, CARDS, scores(0), 0.3)
    assert not gate.passed
    assert len(gate.reasons) == 1
    assert "reaches the floor" in gate.reasons[0]


@pytest.mark.parametrize("threshold", [0.0, 1.0, 1.5, float("nan")])
def test_a_threshold_outside_0_and_1_fails(threshold):
    assert not offline_gate(IS_FRAUD, CARDS, scores(3), threshold).passed


def test_scores_that_are_no_numbers_or_all_the_same_fail():
    broken = scores(3)
    broken[5] = np.nan
    assert offline_gate(IS_FRAUD, CARDS, broken, 0.3).reasons == ("not so: all scores are finite",)
    constant = np.full(len(IS_FRAUD), 0.4)
    assert offline_gate(IS_FRAUD, CARDS, constant, 0.3).reasons == ("not so: scores differ between transactions",)


def test_a_clearly_worse_candidate_fails_against_the_champion_and_a_better_one_passes():
    assert not offline_gate(IS_FRAUD, CARDS, scores(2, seed=1), 0.3, scores(3, seed=2)).passed
    assert offline_gate(IS_FRAUD, CARDS, scores(3, seed=1), 0.3, scores(2, seed=2)).passed


def test_the_champion_itself_as_candidate_passes_with_no_gain():
    gate = offline_gate(IS_FRAUD, CARDS, scores(3), 0.3, scores(3))
    assert gate.passed
    assert gate.figures["average_precision_gain"] == gate.figures["average_precision_gain_high"] == 0.0


def test_an_equally_good_candidate_passes_although_its_average_precision_is_a_little_lower():
    candidate, champion = sorted(
        (scores(3, seed=1), scores(3, seed=2)), key=lambda each: average_precision_score(IS_FRAUD, each)
    )
    gate = offline_gate(IS_FRAUD, CARDS, candidate, 0.3, champion)
    assert gate.figures["average_precision_gain"] < 0
    assert gate.passed


def test_the_same_seed_gives_the_same_verdict_and_figures():
    assert offline_gate(IS_FRAUD, CARDS, scores(3), 0.3, scores(2)) == offline_gate(
        IS_FRAUD, CARDS, scores(3), 0.3, scores(2)
    )


def test_rows_of_one_class_give_an_error_and_not_a_verdict():
    with pytest.raises(ValueError, match="0 of them fraud"):
        offline_gate(np.zeros(20_000, bool), CARDS, scores(3), 0.3)


def test_only_the_first_model_goes_to_production_on_the_offline_gate_alone():
    passed = offline_gate(IS_FRAUD, CARDS, scores(3), 0.3)
    failed = offline_gate(IS_FRAUD, CARDS, scores(0), 0.3)
    assert next_stage(passed, has_champion=False).stage == "Production"
    waiting = next_stage(passed, has_champion=True)
    assert waiting.stage == "Staging"
    assert "waits for the shadow comparison" in waiting.reason
    for has_champion in (False, True):
        assert next_stage(failed, has_champion=has_champion).stage == "None"
    assert "reaches the floor" in next_stage(failed, has_champion=False).reason


def test_a_model_that_flags_nothing_stays_out_of_staging():
    gate = offline_gate(IS_FRAUD, CARDS, scores(3), 0.999_999)
    assert gate.reasons == ("not so: some score reaches the threshold",)


def test_a_challenger_on_trial_is_not_replaced_by_the_next_candidate_before_its_labels_have_come():
    passed = offline_gate(IS_FRAUD, CARDS, scores(3), 0.3, resamples=2)
    on_trial = {"has_champion": True, "label_delay_days": 7}
    waiting = next_stage(passed, **on_trial, trial=Trial("4", 20.9))
    assert waiting.stage == "None"
    assert "version 4 is on trial in Staging for 20.9 of 21 days" in waiting.reason
    assert next_stage(passed, **on_trial, trial=Trial("4", 21)).stage == "Staging"
    assert next_stage(passed, **on_trial | {"has_champion": False}, trial=Trial("4", 1)).stage == "Production"


SMALL = slice(0, 10_000)


def pairs(challenger: np.ndarray, champion: np.ndarray, thresholds: tuple[float, float] = (0.3, 0.3)) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": CARDS[SMALL],
            "is_fraud": IS_FRAUD[SMALL],
            "value_minor": 100,
            "challenger_score": challenger[SMALL],
            "champion_score": champion[SMALL],
            "challenger_flagged": challenger[SMALL] >= thresholds[0],
            "champion_flagged": champion[SMALL] >= thresholds[1],
        }
    )


def test_a_better_challenger_is_promoted_and_the_reasons_name_both_figures():
    verdict = shadow_gate(pairs(scores(4), scores(3, seed=2)), resamples=50)
    assert verdict.action == "promote"
    assert ["average precision" in reason for reason in verdict.reasons] == [False, True, False]
    assert "F2 of the decisions" in verdict.reasons[2]
    assert verdict.figures["average_precision_gain"] > 0
    assert verdict.figures["frauds"] == IS_FRAUD[SMALL].sum()


def test_the_champion_beside_itself_is_promoted_because_it_is_certainly_not_worse():
    assert shadow_gate(pairs(scores(3), scores(3)), resamples=20).action == "promote"


def test_a_worse_challenger_leaves_staging_whether_its_scores_or_its_threshold_are_at_fault():
    by_scores = shadow_gate(pairs(scores(2), scores(3, seed=2)), resamples=50)
    by_threshold = shadow_gate(pairs(scores(3), scores(3), (0.01, 0.3)), resamples=50)
    assert by_scores.action == by_threshold.action == "archive"
    assert any("average precision is worse" in reason for reason in by_scores.reasons)
    assert [reason for reason in by_threshold.reasons if "is worse" in reason] == list(by_threshold.reasons[1:])
    assert "F2 of the decisions is worse" in by_threshold.reasons[1]


def test_with_few_frauds_or_while_labels_are_held_nothing_is_decided():
    rows = pairs(scores(4), scores(3, seed=2))
    few = rows.filter(~pl.col("is_fraud") | (pl.col("is_fraud").cum_sum() < LEAST_FRAUDS))
    assert shadow_gate(few).action == "wait"
    assert "50 frauds of 20 cards" in shadow_gate(few).reasons[0]
    assert shadow_gate(rows.clear()).action == "wait"
    one_card = rows.with_columns(user_id=pl.when("is_fraud").then(pl.lit("one")).otherwise("user_id"))
    assert shadow_gate(one_card).action == "wait"
    blocked = shadow_gate(rows, ["labels are in quarantine"])
    assert (blocked.action, blocked.reasons) == ("wait", ("promotion is blocked: labels are in quarantine",))
