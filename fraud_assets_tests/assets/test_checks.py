import polars as pl
import pytest
from sklearn.metrics import average_precision_score

from fraud_assets.assets.evaluation import decision_threshold, evaluation
from fraud_assets.assets.registry import registered_model
from fraud_assets.assets.training import balanced_training_set, training_set, tuned_model
from fraud_assets_tests.assets.conftest import AS_OF_MS
from fraud_core.features.exchange_rates import NO_RATES
from fraud_core.features.table import FEATURES
from fraud_core.model.fraud_model import FraudModel, ModelCard
from fraud_core.model.stored import StoredModel
from fraud_core.model.threshold import Threshold
from fraud_core.promotion.gates import GateResult
from fraud_core.settings import Settings
from fraud_core.timestamps import DAY_MS
from fraud_core.training import recipe
from fraud_core.training.balancing import balance
from fraud_core.training.search import DEFAULTS, refit
from fraud_core.training.training_set import build_training_set

pytestmark = pytest.mark.assets


@pytest.fixture(scope="module")
def rows(simulated) -> pl.DataFrame:
    return build_training_set(*simulated, AS_OF_MS, Settings(), NO_RATES)


@pytest.fixture(scope="module")
def balanced(rows) -> pl.DataFrame:
    return balance(rows.filter(pl.col("split") == "train"), FEATURES, 0.05, seed=1)


def failed(results) -> set[str]:
    return {result.check_name for result in results if not result.passed}


def failed_of_training_set(rows: pl.DataFrame, labels: pl.DataFrame) -> set[str]:
    return failed(training_set.check(rows, labels, AS_OF_MS, label_delay_days=7))


def test_a_training_set_as_it_should_be_passes(rows, simulated):
    assert failed_of_training_set(rows, simulated[1]) == set()


def test_a_period_without_rows_fails(rows, simulated):
    without = rows.filter(pl.col("split") != "validation")
    assert failed_of_training_set(without, simulated[1]) == {"is_not_empty", "both_classes", "periods_are_purged"}


def test_a_period_without_fraud_fails(rows, simulated):
    without = rows.filter((pl.col("split") != "test") | ~pl.col("is_fraud"))
    assert failed_of_training_set(without, simulated[1]) == {"both_classes"}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), None])
def test_a_feature_that_is_no_number_fails(rows, simulated, bad):
    first = pl.int_range(pl.len()) == 0
    broken = rows.with_columns(pl.when(first).then(pl.lit(bad, pl.Float32)).otherwise("amount").alias("amount"))
    assert failed_of_training_set(broken, simulated[1]) == {"features_are_finite"}


def test_a_fraud_that_was_reported_only_after_the_as_of_time_fails(rows, simulated):
    late = simulated[1].with_columns(pl.lit(AS_OF_MS + 1).alias("label_time_ms"))
    assert failed_of_training_set(rows, late) == {"labels_were_known"}


def test_a_period_that_begins_before_the_labels_of_the_one_before_are_known_fails(rows, simulated):
    early = rows.with_columns(
        pl.when(pl.col("split") == "validation")
        .then(pl.col("event_time_ms") - DAY_MS)
        .otherwise("event_time_ms")
        .alias("event_time_ms")
    )
    assert failed_of_training_set(early, simulated[1]) == {"periods_are_purged"}


def test_a_row_younger_than_the_label_delay_fails(rows, simulated):
    young = rows.with_columns(pl.col("event_time_ms") + 10 * DAY_MS)
    assert failed_of_training_set(young, simulated[1]) == {"labels_were_known"}


def test_a_balanced_set_as_it_should_be_passes(rows, balanced):
    assert failed(balanced_training_set.check(balanced, rows)) == set()


def test_a_test_row_in_the_balanced_set_fails(rows, balanced):
    leaked = rows.filter(pl.col("split") == "test").head(1).with_columns(is_synthetic=pl.lit(False))
    bad = pl.concat([balanced, leaked.select(balanced.columns)])
    assert failed(balanced_training_set.check(bad, rows)) == {"only_training_rows"}


def test_a_balanced_set_made_from_more_than_the_training_rows_fails(rows):
    everything = balance(rows, FEATURES, 0.05, seed=1)
    assert failed(balanced_training_set.check(everything, rows)) == {"only_training_rows"}


@pytest.mark.parametrize(
    ("value", "interval"), [(0.0, (0.1, 0.2)), (1.0, (0.1, 0.2)), (float("nan"), (0.1, 0.2)), (0.5, (0.4, 1.0))]
)
def test_a_threshold_that_separates_nothing_fails(value, interval):
    assert failed(decision_threshold.check(Threshold(value, 0.5, 0.5, 0.5, interval))) == {"is_inside_0_and_1"}


def test_folds_of_the_training_rows_are_purged(rows):
    train = rows.filter(pl.col("split") == "train")
    assert failed(tuned_model.check(train, Settings())) == set()


@pytest.fixture(scope="module")
def grown(balanced) -> StoredModel:
    params = {**DEFAULTS, "n_estimators": 5}
    booster = refit(balanced, FEATURES, params, seed=1)
    return StoredModel.of(FraudModel(booster, ModelCard(0.5, 0.01, (0, 10), params=params)))


def test_the_gain_of_smote_is_that_over_the_same_trees_without_the_synthetic_rows(rows, balanced, grown):
    real = balanced.filter(~pl.col("is_synthetic"))
    validation = rows.filter(split="validation")
    without = recipe.grow_trees(real, grown.card["params"], Settings(seed=1))
    expected = {
        "with": average_precision_score(validation["is_fraud"], recipe.raw_scores(grown.open(), validation)),
        "without": average_precision_score(
            validation["is_fraud"], without.inplace_predict(validation.select(FEATURES).to_numpy())
        ),
    }
    gain = evaluation.smote_gain(grown, balanced, rows, Settings(seed=1))
    assert {"with": gain.value, "without": gain.other} == pytest.approx(expected, abs=1e-12)
    assert gain.value != gain.other
    assert gain.low < gain.high
    nothing = evaluation.smote_gain(grown, real, rows, Settings(seed=1))
    assert (nothing.value, nothing.low, nothing.high) == (nothing.other, 0.0, 0.0)


def test_a_registered_model_that_comes_out_again_passes(balanced, grown):
    assert failed(registered_model.check(grown, grown, balanced, Settings(seed=1))) == set()


def test_a_registered_model_of_another_seed_or_other_rows_fails(balanced, grown):
    assert failed(registered_model.check(grown, grown, balanced, Settings(seed=2))) == {"reproduces"}
    assert failed(registered_model.check(grown, grown, balanced.tail(-1000), Settings(seed=1))) == {"reproduces"}


def test_another_model_than_the_evaluated_one_in_the_registry_fails(balanced, grown):
    other = StoredModel(grown.ubj + b"x", grown.card)
    assert failed(registered_model.check(other, grown, balanced, Settings(seed=1))) == {"is_what_was_evaluated"}


def test_a_model_no_better_than_chance_fails_and_blocks():
    figures = {"base_rate": 0.01, "candidate_average_precision": 0.012}
    results = evaluation.check(GateResult(False, ("not so",), figures))
    assert failed(results) == {"beats_chance", "passes_the_offline_gate"}


def test_a_model_worse_than_the_champion_is_told_but_does_not_fail_the_run():
    figures = {"base_rate": 0.01, "candidate_average_precision": 0.5, "champion_average_precision": 0.7}
    results = evaluation.check(GateResult(False, ("not so",), figures))
    assert failed(results) == {"passes_the_offline_gate"}
