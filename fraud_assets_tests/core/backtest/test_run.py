"""A backtest on simulated payments: what a fold learns is what was known on its day, and nothing else."""

from dataclasses import replace

import polars as pl
import pytest

from fraud_core.backtest.known_cards import has_known_fraud
from fraud_core.backtest.periods import Protocol, make_folds
from fraud_core.backtest.result import BacktestResult, FoldResult
from fraud_core.backtest.run import run_backtest
from fraud_core.features.exchange_rates import NO_RATES
from fraud_core.settings import Settings
from fraud_core.simulation.arrived import arrived
from fraud_core.simulation.simulator import Simulator
from fraud_core.timestamps import DAY_MS

FIRST_DAY, DAYS = 20_454, 55
PROTOCOL = Protocol(
    train_end_ms=(FIRST_DAY + 41) * DAY_MS,
    test_start_ms=(FIRST_DAY + 48) * DAY_MS,
    test_days=4,
    train_days=60,
    label_delay_days=7,
    validation_days=7,
)
AS_OF_MS = PROTOCOL.test_start_ms
SETTINGS = Settings(search_candidates=2, search_folds=2)


@pytest.fixture(scope="module")
def simulated() -> tuple[pl.DataFrame, pl.DataFrame]:
    """(transactions, labels)"""
    simulator = Simulator(800, seed=1)
    return arrived([simulator.day(FIRST_DAY + day) for day in range(DAYS)])


@pytest.fixture
def transactions(simulated) -> pl.DataFrame:
    return simulated[0]


@pytest.fixture
def labels(simulated) -> pl.DataFrame:
    return simulated[1]


def backtest(transactions: pl.DataFrame, labels: pl.DataFrame, protocol: Protocol = PROTOCOL) -> BacktestResult:
    folds = make_folds(protocol, transactions["event_time_ms"])
    return run_backtest(
        transactions, labels, folds, SETTINGS, NO_RATES, exclude_known_compromised=False, progress=lambda line: None
    )


@pytest.fixture(scope="module")
def result(simulated) -> BacktestResult:
    """Two folds, three days apart; the first is PROTOCOL's."""
    return backtest(*simulated, replace(PROTOCOL, folds=2, step_days=3))


@pytest.fixture(scope="module")
def altered(simulated) -> BacktestResult:
    """PROTOCOL's fold alone: other payments in the test period, and labels up to its third day only."""
    transactions, labels = simulated
    is_tested = pl.col("event_time_ms") >= AS_OF_MS
    changed = transactions.filter(~is_tested | (pl.col("offset") % 3 > 0)).with_columns(
        amount_minor=pl.when(is_tested).then(pl.col("amount_minor") * 3).otherwise("amount_minor"),
    )
    return backtest(changed, labels.filter(pl.col("label_time_ms") < AS_OF_MS + 3 * DAY_MS))


def learned(fold: FoldResult) -> tuple:
    """All that a training brings forth."""
    return fold.params, fold.smote_ratio, fold.importance, fold.calibration, fold.threshold, fold.train_frauds


def test_the_test_period_is_scored_once_and_judged(result, transactions):
    fold = result.folds[0]
    tested = transactions.filter(pl.col("event_time_ms").is_between(*fold.split.test, closed="left"))
    assert fold.scored["transaction_id"].equals(tested["transaction_id"])
    assert fold.scored["is_flagged"].equals(fold.scored["score"] >= fold.threshold.value, check_names=False)
    assert fold.evaluation.average_precision > 10 * fold.evaluation.base_rate
    assert 0 < fold.threshold.value < 1
    assert fold.search.height == 2
    assert set(fold.cpu_seconds) == {"features", "smote ratio", "search", "fit", "threshold", "score"}
    assert result.transactions == transactions.height


def test_the_truth_is_the_last_label_whenever_it_came(result, labels):
    fold = result.folds[0]
    last = labels.sort("label_time_ms").unique("transaction_id", keep="last")
    frauds = set(last.filter("is_fraud")["transaction_id"])
    assert [name in frauds for name in fold.scored["transaction_id"]] == fold.scored["is_fraud"].to_list()
    assert (labels.filter(pl.col("transaction_id").is_in(frauds))["label_time_ms"] > AS_OF_MS + 4 * DAY_MS).any()


def test_no_later_label_changes_what_is_learned_or_a_score_from_before_it(result, transactions, labels):
    later_ms = AS_OF_MS + 2 * DAY_MS
    is_later = pl.col("label_time_ms") > later_ms
    turned = labels.with_columns(is_fraud=pl.when(is_later).then(~pl.col("is_fraud")).otherwise("is_fraud"))
    new = transactions.sample(500, seed=1).select("transaction_id", is_fraud=True, source=pl.lit("customer"))
    new = new.with_columns(label_time_ms=later_ms + 1, partition=0, offset=pl.int_range(pl.len()) + labels.height)
    fold = result.folds[0]
    (other,) = backtest(transactions, pl.concat([turned, new.select(labels.columns).cast(labels.schema)])).folds
    assert learned(other) == learned(fold)
    before = pl.col("event_time_ms") < later_ms
    assert other.scored.filter(before)["score"].equals(fold.scored.filter(before)["score"])
    assert other.evaluation != fold.evaluation


def test_no_transaction_of_the_test_changes_what_is_learned(altered, result):
    assert altered.transactions < result.transactions
    assert learned(altered.folds[0]) == learned(result.folds[0])


def test_a_test_younger_than_the_labels_is_pointed_out(altered, result):
    assert result.warnings == {}
    (warning,) = altered.warnings
    assert warning.startswith(
        "test transactions after 2026-02-14, whose labels may not all have come (the newest label"
    )


def test_a_period_of_one_class_is_refused_before_anything_is_computed(transactions, labels):
    lines = []
    genuine = labels.filter(~pl.col("is_fraud"))
    folds = make_folds(PROTOCOL, transactions["event_time_ms"])
    with pytest.raises(ValueError, match=r"the train period .* 0 of them fraud; it needs both classes"):
        run_backtest(
            transactions, genuine, folds, SETTINGS, NO_RATES, exclude_known_compromised=False, progress=lines.append
        )
    assert lines == []


def test_the_cards_left_out_are_those_of_the_handbook_when_labels_come_a_delay_after_their_transactions(
    transactions, labels
):
    frauds = set(labels.filter("is_fraud")["transaction_id"])
    labels = transactions.filter(pl.col("transaction_id").is_in(frauds)).select(
        "transaction_id",
        is_fraud=True,
        source=pl.lit("analyst"),
        label_time_ms=pl.col("event_time_ms") + 7 * DAY_MS,
        partition=pl.lit(0, pl.Int32),
        offset=pl.int_range(pl.len(), dtype=pl.Int64),
    )
    (fold,) = make_folds(replace(PROTOCOL, test_days=7), transactions["event_time_ms"])
    test = transactions.filter(pl.col("event_time_ms") >= AS_OF_MS)
    is_known = has_known_fraud(test, transactions, labels, fold, 7)

    days = [(user, time_ms // DAY_MS - FIRST_DAY) for user, time_ms in transactions["user_id", "event_time_ms"].rows()]
    fraud_days = [at for at, name in zip(days, transactions["transaction_id"], strict=True) if name in frauds]
    # The handbook's training week ends with train_end; each test day adds the frauds of one more day.
    defrauded = {user for user, day in fraud_days if 34 <= day < 41}
    expected = []
    for test_day in range(7):
        defrauded |= {user for user, day in fraud_days if day == 41 + test_day - 1}
        expected += [user in defrauded for user, day in days if day == 48 + test_day]
    assert is_known.to_list() == expected
    assert 0 < sum(expected) < len(expected)


def test_a_card_whose_fraud_was_labelled_too_late_stays(transactions, labels):
    (fold,) = make_folds(PROTOCOL, transactions["event_time_ms"])
    test = transactions.filter(pl.col("event_time_ms") >= AS_OF_MS)
    late = labels.with_columns(label_time_ms=pl.lit(fold.split.test[1]))
    assert not has_known_fraud(test, transactions, late, fold, 7).any()


def test_each_fold_trains_for_itself(result):
    first, second = result.folds
    assert (first.fold, second.fold) == (1, 2)
    assert [later - earlier for earlier, later in zip(first.split.test, second.split.test, strict=True)] == [
        3 * DAY_MS
    ] * 2
    assert learned(second) != learned(first)
