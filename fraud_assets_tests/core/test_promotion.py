import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score

from fraud_core.promotion import next_stage, offline_gate

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
