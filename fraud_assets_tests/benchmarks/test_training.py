"""The data of the training benchmark, and what may be expected of models on it."""

import polars as pl
import pytest

from benchmarks.handbook import Handbook, handbook
from benchmarks.training.data import AS_OF_MS, LABEL_DELAY_DAYS, arrivals, fill_lake, settings_in
from benchmarks.training.meter import Meter
from benchmarks.training.ours import daily_run
from benchmarks.training.usual import usual_recipe
from fraud_core.timestamps import DAY_MS
from fraud_core.training.training_set import time_split

pytestmark = pytest.mark.assets

# More than anybody can know on the day: a model that is better has seen the future.
LEAK = 0.9


@pytest.fixture(scope="module")
def rows() -> tuple[pl.DataFrame, pl.DataFrame]:
    return arrivals(Handbook.of_transactions(50_000, seed=1))


def test_the_data_has_the_size_asked_for_whatever_it_is_and_always_the_published_share_of_fraud():
    for asked in (60_000, 240_000):
        made = handbook(Handbook.of_transactions(asked))
        assert made.height == pytest.approx(asked, rel=0.1)
        assert 0.006 < made["is_fraud"].mean() < 0.012
        assert made["timestamp"].is_sorted()


def test_the_same_sizes_and_seed_give_the_same_rows():
    sizes = Handbook(customers=50, terminals=100)
    assert handbook(sizes).equals(handbook(sizes))
    assert not handbook(sizes).equals(handbook(Handbook(customers=50, terminals=100, seed=1)))


def test_a_label_is_known_a_week_after_the_transaction(rows):
    transactions, labels = rows
    waited = labels.join(transactions, on="transaction_id").select(pl.col("label_time_ms") - pl.col("event_time_ms"))
    assert waited.to_series().unique().to_list() == [LABEL_DELAY_DAYS * DAY_MS]


def test_the_daily_run_finds_frauds_and_does_not_leak(rows, tmp_path):
    settings = settings_in(tmp_path).model_copy(update={"search_candidates": 1})
    fill_lake(settings, *rows)
    with Meter() as meter:
        found = daily_run(settings, meter)
    assert 0.5 < found.average_precision < LEAK
    assert {"training_set", "balanced_training_set", "tuned_model", "evaluation"} < {
        step.name for step in meter.steps()
    }


def test_the_usual_recipe_claims_what_it_does_not_keep(rows, tmp_path):
    transactions, labels = rows
    is_fraud = transactions["transaction_id"].is_in(labels["transaction_id"].implode()).to_numpy()
    later = time_split(AS_OF_MS, settings_in(tmp_path)).test
    with Meter() as meter:
        found = usual_recipe(transactions, is_fraud, later, meter, delay_days=LABEL_DELAY_DAYS, candidates=1)
    assert 0.3 < found.average_precision < LEAK < 0.98 < found.claimed_average_precision
    assert found.f2 < found.claimed_f2
    names = [step.name for step in meter.steps()]
    assert names[0] == "features" and names[-1] == "start and rest"
    assert all(step.cpu_s >= 0 for step in meter.steps())
