"""Quarantine: an honest feed is left alone, a flood is held as a whole, and only a person lets it go."""

from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_core.labels.known import LABEL_COLUMNS
from fraud_core.labels.quarantine import received_day, suspicious, without
from fraud_core.simulation.simulator import Simulator
from fraud_core.timestamps import DAY_MS

FIRST_DAY, DAYS, CUSTOMERS = 20_000, 90, 300
END_MS = (FIRST_DAY + DAYS) * DAY_MS
FLOOD_MS = END_MS - 15 * DAY_MS + DAY_MS // 2
FLOOD_DAY = "2024-12-18"
SOURCES = ("chargeback", "analyst", "customer")
PARTITIONS = 4


def arrived(rows: pl.DataFrame) -> pl.DataFrame:
    """LABEL_COLUMNS of rows in order of arrival, over partitions by transaction as a producer spreads them."""
    partition = (pl.col("transaction_id").hash() % PARTITIONS).cast(pl.Int32)
    return rows.with_columns(partition=partition, offset=pl.int_range(pl.len(), dtype=pl.Int64)).select(
        list(LABEL_COLUMNS)
    )


@cache
def honest(seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Labels in order of arrival and transactions with the truth. Halfway a first model gives analysts alerts."""
    simulator, rng = Simulator(CUSTOMERS, seed), np.random.default_rng(seed)
    labels, transactions = [], []
    for number in range(FIRST_DAY, FIRST_DAY + DAYS):
        day = simulator.day(number)
        labels.append(day.labels)
        transactions.append(day.transactions.select("transaction_id", is_fraud=pl.Series(day.is_fraud)))
        if number >= FIRST_DAY + DAYS // 2:
            looked_at = rng.random(len(day.is_fraud)) < np.where(day.is_fraud, 0.85, 0.015)
            labels.append(
                day.transactions.select(
                    "transaction_id",
                    is_fraud=pl.Series(day.is_fraud),
                    source=pl.lit("analyst"),
                    label_time_ms=pl.col("event_time_ms") + DAY_MS,
                ).filter(pl.Series(looked_at))
            )
    known = pl.concat(labels).filter(pl.col("label_time_ms") < END_MS)
    return arrived(known.sort("label_time_ms", "transaction_id")), pl.concat(transactions)


def flooded(seed: int, flips: pl.DataFrame, source: str, label_time_ms: int = FLOOD_MS) -> pl.DataFrame:
    """The honest labels and, on one day, ``flips`` (transaction_id, is_fraud) by ``source``."""
    labels = honest(seed)[0].drop("partition", "offset").with_columns(at=pl.col("label_time_ms"))
    false = flips.select(
        "transaction_id",
        "is_fraud",
        source=pl.lit(source),
        label_time_ms=pl.lit(label_time_ms, pl.Int64),
        at=pl.lit(FLOOD_MS, pl.Int64),
    )
    return arrived(pl.concat([labels, false]).sort("at", maintain_order=True))


def silent_ones(seed: int, n: int) -> pl.DataFrame:
    """Genuine transactions nobody said anything about, called fraud."""
    labels, transactions = honest(seed)
    genuine = transactions.filter(~pl.col("is_fraud")).join(labels, on="transaction_id", how="anti")
    return genuine.sample(n, seed=seed).with_columns(is_fraud=True)


def known_ones(seed: int) -> pl.DataFrame:
    """Every label that was known before the flood, turned round."""
    known = honest(seed)[0].filter(pl.col("label_time_ms") < FLOOD_MS)
    last = known.unique("transaction_id", keep="last", maintain_order=True)
    return last.select("transaction_id", is_fraud=~pl.col("is_fraud"))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ninety_honest_days_raise_no_alarm_although_a_first_model_changes_what_analysts_see(seed):
    assert suspicious(honest(seed)[0], END_MS) == []


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_three_thousand_flipped_labels_are_held_and_nothing_else(seed, source):
    flips = pl.concat([known_ones(seed), silent_ones(seed, 3_000)]).head(3_000)
    assert [batch.name for batch in suspicious(flooded(seed, flips, source), END_MS)] == [f"{source}/{FLOOD_DAY}"]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("flips", [lambda: silent_ones(1, 3_000), lambda: known_ones(1)], ids=["silent", "known"])
def test_it_matters_not_whether_the_flipped_were_labelled_before(source, flips):
    assert [batch.name for batch in suspicious(flooded(1, flips(), source), END_MS)] == [f"{source}/{FLOOD_DAY}"]


@pytest.mark.parametrize("label_time_ms", [FLOOD_MS - 40 * DAY_MS, END_MS + 1_000 * DAY_MS], ids=["back", "ahead"])
def test_a_flood_that_is_dated_back_or_ahead_is_held_with_those_it_came_among(label_time_ms):
    labels = flooded(1, silent_ones(1, 3_000), "customer", label_time_ms)
    held = suspicious(labels, END_MS)
    gone = labels.join(without(labels, held), on=["partition", "offset"], how="anti")
    assert len(gone.filter(pl.col("label_time_ms") == label_time_ms)) == 3_000
    assert len(gone) < 3_010
    # The clock of a partition without a label for days stands still meanwhile.
    days = received_day(labels, END_MS).join(gone, on=["partition", "offset"], how="semi")["day"]
    assert FLOOD_MS // DAY_MS - 3 < days.min() <= days.max() == FLOOD_MS // DAY_MS


def test_a_feed_whose_verdicts_are_inverted_is_held_although_it_says_no_more_than_usual():
    labels = honest(1)[0]
    own = received_day(labels, END_MS).filter(pl.col("source") == "customer")
    day = own["day"].max() - 10
    more = pl.concat(
        [labels.select("transaction_id", "is_fraud", "source", "label_time_ms")]
        + [
            pl.DataFrame(
                {
                    "transaction_id": [f"n{n}"],
                    "is_fraud": [False],
                    "source": ["customer"],
                    "label_time_ms": [day * DAY_MS + n],
                }
            )
            for n in range(25)
        ]
    ).sort("label_time_ms")
    [batch] = suspicious(arrived(more), END_MS)
    assert batch.source == "customer"
    assert "labels say fraud, against 100% in the 28 days before" in batch.reason


def test_who_sets_false_labels_right_does_not_become_suspicious():
    flips = known_ones(1)
    right = flips.select(
        "transaction_id",
        is_fraud=~pl.col("is_fraud"),
        source=pl.when(pl.col("is_fraud")).then(pl.lit("analyst")).otherwise(pl.lit("chargeback")),
        label_time_ms=FLOOD_MS + DAY_MS + pl.int_range(pl.len()) * (14 * DAY_MS // pl.len()),
    )
    after = pl.concat(
        [flooded(1, flips, "customer").drop("partition", "offset"), right.cast({"label_time_ms": pl.Int64})]
    )
    held = suspicious(arrived(after.sort("label_time_ms", maintain_order=True)), END_MS)
    assert [batch.name for batch in held] == [f"customer/{FLOOD_DAY}"]


def test_what_is_held_is_all_that_the_source_said_on_that_day_and_nothing_of_others():
    labels = flooded(1, silent_ones(1, 3_000), "customer")
    [batch] = suspicious(labels, END_MS)
    left = without(labels, [batch])
    gone = labels.join(left, on=["partition", "offset"], how="anti")
    assert set(gone["source"]) == {"customer"}
    assert batch.labels == len(gone) >= 3_000
    days = received_day(labels, END_MS).join(gone, on=["partition", "offset"], how="semi")["day"]
    assert set(days) == {FLOOD_MS // DAY_MS}
    assert left.filter(pl.col("source") == "customer", pl.col("label_time_ms") == FLOOD_MS).is_empty()


def test_a_released_batch_is_not_judged_again_and_is_history_from_then_on():
    labels = flooded(1, silent_ones(1, 3_000), "customer")
    assert suspicious(labels, END_MS, released={f"customer/{FLOOD_DAY}"}) == []


rows = st.lists(
    st.tuples(st.integers(0, 5), st.booleans(), st.sampled_from(SOURCES), st.integers(-50, 150)), max_size=60
)


@given(rows, st.integers(0, 100))
def test_the_day_a_label_came_never_goes_back_within_a_partition(drawn, known_day):
    named = [(f"t{number}", is_fraud, source, day * DAY_MS) for number, is_fraud, source, day in drawn]
    labels = arrived(pl.DataFrame(named, schema=list(LABEL_COLUMNS)[:4], orient="row"))
    labels = labels.cast(LABEL_COLUMNS)
    came = received_day(labels.sample(fraction=1, shuffle=True, seed=0), known_day * DAY_MS)
    assert len(came) == len(labels)
    for partition in came.partition_by("partition"):
        assert partition["day"].is_sorted()
    assert came.filter(pl.col("day") > known_day).is_empty()


@given(rows)
def test_few_labels_are_never_held(drawn):
    named = [(f"t{number}", is_fraud, source, day * DAY_MS) for number, is_fraud, source, day in drawn[:19]]
    labels = pl.DataFrame(named, schema=list(LABEL_COLUMNS)[:4], orient="row")
    assert suspicious(arrived(labels).cast(LABEL_COLUMNS), 150 * DAY_MS) == []
