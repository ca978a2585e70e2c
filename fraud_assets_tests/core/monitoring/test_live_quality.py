"""Live quality: what labels of an age say of decisions, what was expected without them, what the review sample adds."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from fraud_core.decisions.prediction_table import PREDICTION_COLUMNS
from fraud_core.decisions.review import recall_by_review
from fraud_core.evaluation.decision_quality import Estimate
from fraud_core.evaluation.intervals import METRICS, card_intervals
from fraud_core.evaluation.report import evaluate
from fraud_core.features.table import FEATURES
from fraud_core.labels.known import LABEL_COLUMNS
from fraud_core.monitoring.cbpe import expected_quality
from fraud_core.monitoring.cohorts import LiveQuality
from fraud_core.monitoring.live_quality import at_age, daily, decisions, live_quality
from fraud_core.timestamps import DAY_MS

NOW_DAY = 60


def served(rows: list[dict]) -> pl.DataFrame:
    """PREDICTION_COLUMNS of rows that say what matters to a test; day is the event's."""
    usual = {"user_id": "u", "score": 0.5, "threshold": 0.5, "model_version": "1", "arm": "champion", "amount": 10.0}
    filled = [
        {
            **dict.fromkeys(FEATURES, 0.0),
            **usual,
            "transaction_id": f"t{number}",
            "event_time_ms": row["day"] * DAY_MS + number,
            "prediction": int((row.get("score", 0.5) or 0) >= 0.5),
            "review_sample": False,
            "review_probability": 0.005,
            **row,
        }
        for number, row in enumerate(rows)
    ]
    return pl.DataFrame(filled, schema=PREDICTION_COLUMNS)


def labels(*rows: tuple[str, bool, str, float]) -> pl.DataFrame:
    """(transaction_id, is_fraud, source, day) in order of arrival."""
    told = [(name, is_fraud, source, int(day * DAY_MS), 0, at) for at, (name, is_fraud, source, day) in enumerate(rows)]
    return pl.DataFrame(told, schema=LABEL_COLUMNS, orient="row")


def quality(rows: list[dict], told: pl.DataFrame) -> LiveQuality:
    return live_quality(served(rows), told, NOW_DAY * DAY_MS, label_delay_days=7, period_days=14, currency="EUR")


told = st.tuples(
    st.sampled_from(["t0", "t1", "t2", "x"]),
    st.booleans(),
    st.sampled_from(["analyst", "customer", "chargeback"]),
    st.integers(20, 60),
)


@given(st.lists(told, max_size=20), st.sampled_from([7, 14, 30]))
def test_a_cohort_knows_what_was_known_at_its_age_and_nothing_later(drawn, age):
    days = [25, 40, 53]
    rows = at_age(
        decisions(served([{"day": day} for day in days]), NOW_DAY * DAY_MS), labels(*drawn), NOW_DAY * DAY_MS, age
    )
    assert rows["transaction_id"].to_list() == [f"t{n}" for n, day in enumerate(days) if day + age < NOW_DAY]
    for row in rows.iter_rows(named=True):
        day = row["event_time_ms"] // DAY_MS
        own = [(at, i) for i, (name, *_, at) in enumerate(drawn) if name == row["transaction_id"] and at <= day + age]
        assert row["is_fraud"] is (drawn[max(own)[1]][1] if own else False)
        assert row["is_reported"] is any(drawn[i][2] != "analyst" for _, i in own)
        assert row["is_reviewed"] is any(drawn[i][2] == "analyst" for _, i in own)


def test_counts_money_and_shares_are_those_worked_out_by_hand():
    found = quality(
        [
            {"day": 50, "user_id": "a", "score": 0.9, "amount": 100.0},
            {"day": 50, "user_id": "b", "score": 0.8, "amount": 20.0},
            {"day": 50, "user_id": "c", "score": 0.1, "amount": 7.5},
            {"day": 50, "user_id": "d", "score": 0.2, "amount": 1.0},
            {"day": 59, "user_id": "e", "score": 0.9, "amount": 1.0},
        ],
        labels(("t0", True, "customer", 51), ("t2", True, "chargeback", 56), ("t4", True, "customer", 59.5)),
    )
    [cohort] = found.cohorts
    assert (cohort.model_version, cohort.maturity_days, cohort.transactions, cohort.flagged) == ("1", 7, 4, 2)
    assert (cohort.frauds, cohort.caught, cohort.caught_minor, cohort.missed_minor) == (2, 1, 10_000, 750)
    assert (cohort.precision.value, cohort.recall.value, cohort.f2.value) == (0.5, 0.5, 5 / 10)
    assert cohort.card_precision_at_100 == 2 / 100
    assert cohort.expected.recall == pytest.approx((0.9 + 0.8) / (0.9 + 0.8 + 0.1 + 0.2))
    assert cohort.error("recall") == pytest.approx(0.85 - 0.5)
    assert found.newest() is found.of("1", 7) is cohort
    assert found.of("1", 14) is None
    numbers = cohort.numbers()
    assert (numbers["recall"], numbers["value_caught"], numbers["value_missed"]) == (0.5, 100.0, 7.5)
    assert numbers["error_of_expected_recall"] == cohort.error("recall")


def test_a_late_chargeback_moves_the_older_cohort_only():
    rows = [{"day": 25, "user_id": name, "score": score} for name, score in (("a", 0.9), ("b", 0.1), ("c", 0.1))]
    found = quality(rows, labels(("t0", True, "customer", 26), ("t1", True, "chargeback", 45)))
    judged = [(cohort.maturity_days, cohort.frauds, cohort.recall.value) for cohort in found.cohorts]
    assert judged == [(7, 1, 1.0), (14, 1, 1.0), (30, 2, 0.5)]


def test_each_version_is_judged_by_what_it_decided_in_its_last_days_and_the_champion_comes_last():
    rows = [
        {"day": 20, "model_version": "1"},
        {"day": 30, "model_version": "1"},
        {"day": 40, "model_version": "1"},
        {"day": 45, "model_version": "2"},
        {"day": 52, "model_version": "3", "arm": "challenger"},
        {"day": 52, "model_version": None, "score": None},
    ]
    found = quality(rows, labels())
    youngest = [(c.model_version, c.transactions) for c in found.cohorts if c.maturity_days == 7]
    assert youngest == [("3", 1), ("1", 2), ("2", 1)]
    assert found.newest().model_version == "2"


def test_what_nobody_can_know_yet_has_no_figure_and_none_is_made_up():
    assert quality([{"day": 59}], labels()).cohorts == ()
    assert quality([{"day": 59}], labels()).newest() is None
    [cohort] = quality([{"day": 50, "score": 0.1}, {"day": 50, "score": 0.2}], labels()).cohorts
    assert [getattr(cohort, name) for name in METRICS] == [None] * 4
    assert cohort.card_precision_at_100 is cohort.recall_by_review is cohort.error("recall") is None


def test_the_order_of_rows_changes_nothing():
    rows = [
        {"day": 25 + n % 20, "user_id": str(n % 7), "score": (n * 37 % 100) / 100, "offset": n, "partition": n % 3}
        for n in range(300)
    ]
    told = labels(*((f"t{n}", n % 3 == 0, "customer", 46) for n in range(0, 300, 10)))
    found = [
        live_quality(
            served(rows).sample(fraction=1, shuffle=True, seed=seed),
            told,
            NOW_DAY * DAY_MS,
            label_delay_days=7,
            period_days=14,
            currency="EUR",
        )
        for seed in range(5)
    ]
    assert all(other == found[0] for other in found)


def test_the_record_comes_back_from_json_as_it_was():
    rows = [{"day": 25, "user_id": str(n), "score": n / 10} for n in range(10)]
    found = quality(rows, labels(("t9", True, "customer", 26), ("t2", True, "chargeback", 28)))
    kind = TypeAdapter(LiveQuality)
    assert kind.validate_json(kind.dump_json(found)) == found


def test_days_are_measured_once_they_are_whole_and_old_enough_and_expected_at_once():
    rows = [
        {"day": 50, "score": 0.9},
        {"day": 50, "score": 0.1},
        {"day": 53, "score": 0.9, "event_time_ms": 53 * DAY_MS},
        {"day": 53, "score": 0.9, "event_time_ms": 53 * DAY_MS + 1},
        {"day": 59, "score": 0.9},
    ]
    by_day = daily(served(rows), labels(("t0", True, "customer", 51)), NOW_DAY * DAY_MS, 7)
    assert by_day["frauds"].to_list() == [1, None, None]
    assert by_day["recall"].to_list() == [1.0, None, None]
    assert by_day["expected_recall"].to_list() == [0.9, 1.0, 1.0]


def simulated(rows: int, seed: int = 0) -> tuple[pl.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.beta(0.2, 6, rows)
    frame = pl.DataFrame(
        {
            "user_id": rng.integers(rows // 20, size=rows).astype(str),
            "event_time_ms": rng.integers(14 * DAY_MS, size=rows),
            "value_minor": rng.integers(1, 10_000, size=rows),
            "is_fraud": rng.random(rows) < scores,
        }
    )
    return frame, scores


def test_the_figures_are_those_of_an_evaluation_and_lie_within_their_intervals():
    rows, scores = simulated(5_000)
    figures = card_intervals(rows, scores, scores >= 0.3)
    metrics = evaluate(rows, scores, 0.3).metrics()
    for name in METRICS:
        assert figures[name].value == pytest.approx(metrics[name], rel=1e-12)
        assert 0 <= figures[name].low < figures[name].value < figures[name].high <= 1


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=30))
def test_when_the_scores_are_the_truth_the_expected_figures_are_the_measured_ones(drawn):
    is_fraud, is_flagged = np.array(drawn).T
    expected = expected_quality(is_fraud.astype(float), is_flagged)
    rows = pl.DataFrame({"user_id": ["u"] * len(drawn), "is_fraud": is_fraud, "value_minor": 1})
    measured = card_intervals(rows, is_fraud.astype(float), is_flagged, resamples=1)
    assert expected.frauds == is_fraud.sum()
    for name, figure in measured.items():
        assert getattr(expected, name) == pytest.approx(figure.value, rel=1e-12)


def test_when_the_scores_are_calibrated_the_expected_figures_are_near_the_measured_ones():
    rows, scores = simulated(200_000)
    is_flagged = scores >= 0.3
    expected, measured = expected_quality(scores, is_flagged), card_intervals(rows, scores, is_flagged, resamples=2)
    for name in METRICS:
        assert getattr(expected, name) == pytest.approx(measured[name].value, abs=0.02)


def test_frauds_that_scores_cannot_see_are_invisible_without_labels_and_show_as_the_error():
    rng = np.random.default_rng(1)
    scores = rng.beta(0.2, 6, 4_000)
    rows = [{"day": 50, "user_id": f"u{n}", "score": p, "prediction": int(p > 0.1)} for n, p in enumerate(scores)]
    frauds = [(f"t{n}", True, "customer", 51.0) for n, row in enumerate(rows) if rng.random() < row["score"]]
    new_kind = [(f"t{n}", True, "customer", 51.0) for n, row in enumerate(rows) if row["score"] < 0.01][:100]
    before, after = (quality(rows, labels(*told)).newest() for told in (frauds, frauds + new_kind))
    assert before.expected == after.expected
    assert abs(before.error("recall")) < 0.1
    assert after.error("recall") > 0.2


def passed(n: int, unreported: int, reported: int, share: float, seed: int, answered: float = 1.0) -> pl.DataFrame:
    """100 caught frauds, and n transactions that were let pass, of which some are fraud, two on a card."""
    rng = np.random.default_rng(seed)
    is_fraud = np.arange(n) < unreported + reported
    is_sampled = rng.random(n) < share
    cards = pl.Series([f"f{number // 2}" for number in range(n)])
    let_pass = pl.DataFrame(
        {
            "user_id": cards,
            "is_flagged": False,
            "is_fraud": is_fraud & (is_sampled | (np.arange(n) >= unreported)),  # as labels tell
            "is_reported": is_fraud & (np.arange(n) >= unreported),
            "is_reviewed": is_sampled & (rng.random(n) < answered),
            "review_sample": is_sampled,
            "review_probability": share,
        }
    )
    known = let_pass["is_reported"] | let_pass["is_reviewed"]
    let_pass = let_pass.with_columns(is_fraud=pl.col("is_fraud") & known)
    caught = let_pass.head(100).with_columns(
        is_flagged=True, is_fraud=True, is_reported=False, is_reviewed=True, review_sample=False, review_probability=1.0
    )
    return pl.concat([caught, let_pass])


@pytest.mark.parametrize("answered", [1.0, 0.7])
def test_the_recall_from_the_review_sample_is_right_on_average_and_its_interval_holds_the_truth(answered):
    truth = 100 / (100 + 60 + 20)
    estimates = [recall_by_review(passed(6_000, 60, 20, 0.05, seed, answered)) for seed in range(300)]
    missed = np.mean([100 / figure.value - 100 for figure in estimates])
    assert missed == pytest.approx(80, rel=0.1)
    inside = np.mean([figure.low <= truth <= figure.high for figure in estimates])
    assert inside >= 0.9


def test_a_review_of_everything_leaves_nothing_open():
    figure = recall_by_review(passed(1_000, 60, 20, 1.0, seed=0))
    assert figure == Estimate(100 / 180, 100 / 180, 100 / 180)


def test_a_sample_without_a_find_says_how_much_may_still_be_hidden():
    figure = recall_by_review(passed(20_000, 0, 20, 0.005, seed=0))
    assert figure.value == figure.high == 100 / 120
    # With nothing found, up to 3 unseen finds are within the 95 % bound; each would stand for 200.
    assert figure.low == pytest.approx(100 / (120 + 200 * -np.log(0.05)), rel=0.01)


def test_frauds_that_are_known_to_be_missed_are_never_left_out():
    rows = passed(20_000, 0, 20, 0.005, seed=0)
    come_upon = rows.with_row_index().with_columns(
        is_fraud=pl.col("is_fraud")
        | ~pl.col("is_flagged") & ~pl.col("review_sample") & (pl.col("index") % 1_000 == 999)
    )
    missed = come_upon.filter(~pl.col("is_flagged"), "is_fraud").height
    assert missed > 30
    assert recall_by_review(come_upon).value == recall_by_review(come_upon).high == 100 / (100 + missed)


def test_who_looks_at_nothing_gets_no_figure():
    rows = passed(1_000, 60, 20, 0.05, seed=0)
    assert recall_by_review(rows.with_columns(is_reviewed=False)) is None
    assert recall_by_review(rows.with_columns(review_sample=False)) is None
    assert recall_by_review(rows.with_columns(is_fraud=False)) is None


def test_the_record_names_the_error_of_every_metric():
    rows = [{"day": 25, "user_id": str(n), "score": n / 10} for n in range(10)]
    cohort = quality(rows, labels(("t9", True, "customer", 26))).newest()
    for name in METRICS:
        assert cohort.error(name) == getattr(cohort.expected, name) - getattr(cohort, name).value
    assert replace(cohort, recall=None).error("recall") is None
