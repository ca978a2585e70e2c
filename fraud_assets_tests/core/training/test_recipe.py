"""The recipe: the steps one by one make the model that they make together, to the bit."""

import json
from dataclasses import replace

import polars as pl
import pytest

from fraud_core.features.exchange_rates import NO_RATES
from fraud_core.features.table import FEATURES
from fraud_core.model.fraud_model import FraudModel
from fraud_core.settings import Settings
from fraud_core.simulation.arrived import arrived
from fraud_core.simulation.simulator import Simulator
from fraud_core.timestamps import DAY_MS
from fraud_core.training import recipe
from fraud_core.training.split import Period
from fraud_core.training.training_set import build_training_set, time_split

FIRST_DAY, DAYS = 20_454, 40
AS_OF_MS = (FIRST_DAY + DAYS) * DAY_MS
SETTINGS = Settings(
    label_delay_days=2, validation_days=5, test_days=4, training_window_days=DAYS, search_candidates=2, search_folds=2
)
WINDOW: Period = time_split(AS_OF_MS, SETTINGS).train


@pytest.fixture(scope="module")
def simulated() -> tuple[pl.DataFrame, pl.DataFrame]:
    simulator = Simulator(300, seed=1)
    return arrived([simulator.day(day) for day in range(FIRST_DAY, FIRST_DAY + DAYS)])


@pytest.fixture(scope="module")
def rows(simulated) -> pl.DataFrame:
    return build_training_set(*simulated, AS_OF_MS, SETTINGS, NO_RATES)


def test_payments_that_were_sent_again_change_nothing_in_a_training_set(simulated, rows):
    transactions, labels = simulated
    again = transactions.sample(fraction=0.05, seed=1).with_columns(offset=pl.col("offset") + len(transactions))
    assert build_training_set(pl.concat([transactions, again]), labels, AS_OF_MS, SETTINGS, NO_RATES).equals(rows)


def test_an_id_that_another_user_had_sent_is_one_row_as_well(simulated, rows):
    transactions, labels = simulated
    last = transactions.tail(1).with_columns(user_id=pl.lit("nobody"), merchant_id=pl.lit("nowhere"))
    of_other = {"transaction_id": pl.lit(rows["transaction_id"][0]), "event_time_ms": rows["event_time_ms"].max()}
    other = last.with_columns(pl.col("offset") + 1, **of_other)
    assert build_training_set(pl.concat([transactions, other]), labels, AS_OF_MS, SETTINGS, NO_RATES).equals(rows)


@pytest.fixture(scope="module")
def trained(rows) -> recipe.Trained:
    return recipe.train(rows, WINDOW, SETTINGS)


def stored(model: FraudModel) -> tuple[bytes, str]:
    return bytes(model.booster.save_raw("ubj")), json.dumps(model.card.to_dict())


def test_the_steps_one_by_one_make_the_model_that_train_makes(rows, trained):
    training, validation = (rows.filter(split=name) for name in ("train", "validation"))
    ratio = recipe.choose_ratio(training, SETTINGS).ratio
    balanced = recipe.balance_rows(training, ratio, SETTINGS)
    tuning = recipe.search_params(balanced, SETTINGS)
    model = recipe.fit_model(balanced, tuning.params, WINDOW, SETTINGS)
    calibration = recipe.fit_calibration(validation, recipe.raw_scores(model, validation))
    scores = calibration.apply(recipe.raw_scores(model, validation))
    threshold = recipe.pick_threshold(validation, scores, SETTINGS)
    complete = FraudModel(model.booster, replace(model.card, calibration=calibration, threshold=threshold.value))
    assert stored(complete) == stored(trained.model)
    assert (ratio, threshold) == (trained.smote_ratio, trained.threshold)


def test_what_a_training_chose_gives_its_model_again_without_a_search(rows, trained):
    steps = []
    chosen = {"smote_ratio": trained.smote_ratio, "params": trained.tuning.params}
    again = recipe.train(rows, WINDOW, SETTINGS, **chosen, progress=lambda *done: steps.append(done))
    assert stored(again.model) == stored(trained.model)
    assert again.balanced.equals(trained.balanced)
    assert steps == []


def test_test_rows_change_nothing_and_another_seed_makes_another_model(rows, trained):
    chosen = {"smote_ratio": trained.smote_ratio, "params": trained.tuning.params}
    without = recipe.train(rows.filter(pl.col("split") != "test"), WINDOW, SETTINGS, **chosen)
    assert stored(without.model) == stored(trained.model)
    other = recipe.train(rows, WINDOW, SETTINGS.model_copy(update={"seed": 8}), **chosen)
    assert stored(other.model)[0] != stored(trained.model)[0]


def test_the_detector_changes_no_score(rows, trained):
    chosen = {"smote_ratio": trained.smote_ratio, "params": trained.tuning.params}
    plain = recipe.train(rows, WINDOW, SETTINGS, **chosen, with_detector=False).model
    assert plain.anomaly is None
    values = rows.select(FEATURES).to_numpy()
    assert plain.score(values).tolist() == trained.model.score(values).tolist()
    assert plain.card == trained.model.card
