"""The rules for odd labels, each against a slow statement of it, and what they leave of a label."""

import itertools

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from fraud_core.labels.feedback_rules import RULES, apply_rules, counts
from fraud_core.labels.known import LABEL_COLUMNS, label_transactions
from fraud_core.timestamps import DAY_MS

DELAY_DAYS, NOW_DAY = 7, 20
EVENT_DAYS = {"a": 0, "b": 5, "c": 12}  # of "x" nothing has arrived
TRANSACTIONS = pl.DataFrame(
    {"transaction_id": list(EVENT_DAYS), "event_time_ms": [day * DAY_MS for day in EVENT_DAYS.values()]}
)

label = st.tuples(st.sampled_from("abcx"), st.booleans(), st.sampled_from(["analyst", "customer"]), st.integers(-3, 25))
streams = st.lists(label, max_size=25)


def arrived(drawn: list[tuple]) -> pl.DataFrame:
    rows = [(name, is_fraud, source, day * DAY_MS, 0, at) for at, (name, is_fraud, source, day) in enumerate(drawn)]
    return pl.DataFrame(rows, schema=LABEL_COLUMNS, orient="row")


def judged(labels: pl.DataFrame, transactions: pl.DataFrame = TRANSACTIONS) -> pl.DataFrame:
    return apply_rules(labels, transactions.lazy(), NOW_DAY * DAY_MS, DELAY_DAYS)


def known(labels: pl.DataFrame, as_of_day: int = NOW_DAY) -> list[bool | None]:
    return label_transactions(TRANSACTIONS, labels, as_of_day * DAY_MS, DELAY_DAYS).to_list()


@given(streams)
def test_each_rule_holds_for_the_labels_its_sentence_says(drawn):
    found = {row["offset"]: row for row in judged(arrived(drawn)).iter_rows(named=True)}
    assert sorted(found) == list(range(len(drawn)))
    for at, (name, is_fraud, _, day) in enumerate(drawn):
        event = EVENT_DAYS.get(name)
        before = [(drawn[i][3], i) for i in range(len(drawn)) if drawn[i][0] == name and (drawn[i][3], i) < (day, at)]
        last = drawn[max(before)[1]][1] if before else None
        assert {rule: found[at][rule] for rule in RULES} == {
            "unknown": event is None,
            "before_event": event is not None and day < event,
            "future": day > NOW_DAY,
            "late": event is not None and day > event + DELAY_DAYS,
            "repeated": last is not None and last == is_fraud,
            "contradictory": last is not None and last != is_fraud,
        }


@given(streams, st.randoms())
def test_the_order_in_which_rows_are_read_changes_nothing(drawn, random):
    shuffled = list(range(len(drawn)))
    random.shuffle(shuffled)
    labels = arrived(drawn)
    assert judged(labels[shuffled]).sort("offset").equals(judged(labels).sort("offset"))
    assert counts(judged(labels)) == counts(judged(labels[shuffled]))


@given(streams)
def test_repeated_labels_change_no_verdict_at_any_time(drawn):
    labels = arrived(drawn)
    without = judged(labels).filter(~pl.col("repeated")).select(labels.columns)
    for day in range(-3, 26):
        assert known(labels, day) == known(without, day)


@given(streams)
def test_labels_from_the_future_and_of_unknown_transactions_change_no_verdict_of_today(drawn):
    labels = arrived(drawn)
    without = judged(labels).filter(~pl.col("future") & ~pl.col("unknown")).select(labels.columns)
    assert known(labels) == known(without)


@given(streams)
def test_an_unknown_label_is_kept_and_counts_once_its_transaction_is_there(drawn):
    labels = arrived([*drawn, ("x", True, "customer", NOW_DAY)])
    assert judged(labels).filter("unknown")["transaction_id"].unique().to_list() == ["x"]
    now = pl.concat([TRANSACTIONS, pl.DataFrame({"transaction_id": ["x"], "event_time_ms": [18 * DAY_MS]})])
    assert judged(labels, now).filter("unknown").is_empty()
    assert label_transactions(now, labels, NOW_DAY * DAY_MS, DELAY_DAYS).to_list()[-1] is True


@given(streams)
def test_of_contradictory_labels_the_last_one_known_counts(drawn):
    for (at, name), day in itertools.product(enumerate(EVENT_DAYS), (0, 9, NOW_DAY)):
        told = [(label_day, i) for i, (of, _, _, label_day) in enumerate(drawn) if of == name and label_day <= day]
        if told:
            assert known(arrived(drawn), day)[at] is drawn[max(told)[1]][1]


@given(streams)
def test_a_label_dated_before_its_transaction_gives_way_to_any_other(drawn):
    for name in EVENT_DAYS:
        own = judged(arrived(drawn)).filter(transaction_id=name)
        in_time = own.filter(~pl.col("before_event"))
        if not in_time.is_empty():
            assert known(own.select(LABEL_COLUMNS.keys()), 25) == known(in_time.select(LABEL_COLUMNS.keys()), 25)


def test_a_late_fraud_takes_the_place_of_silence_from_its_time_on():
    labels = arrived([("a", True, "customer", 10)])
    assert counts(judged(labels))["late"] == 1
    assert [known(labels, day)[0] for day in (6, 7, 9, 10)] == [None, False, False, True]


def test_a_transaction_that_arrived_twice_gives_each_label_once():
    twice = pl.concat([TRANSACTIONS, TRANSACTIONS])
    assert judged(arrived([("a", True, "customer", 3)]), twice).height == 1
