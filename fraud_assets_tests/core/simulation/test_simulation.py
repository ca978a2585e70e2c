"""The simulated stream: reproducible, valid, and fraudulent in ways that can be learnt but not read off."""

from functools import cache

import numpy as np
import polars as pl
import pytest

from fraud_core.labels.known import LABEL_COLUMNS
from fraud_core.payments.reader import ReadingRules
from fraud_core.payments.transaction import COLUMNS, decode_transactions, encode_transaction
from fraud_core.simulation.fraud_patterns import PATTERNS, new_kinds_from
from fraud_core.simulation.population import make_population
from fraud_core.simulation.simulator import Simulator, customers_for
from fraud_core.simulation.state import Simulation
from fraud_core.timestamps import DAY_MS, HOUR_MS
from fraud_io.simulation_folder import SimulationFolder

CUSTOMERS, SEED, FIRST_DAY, DAYS = 600, 7, 20_500, 60


@cache
def simulated() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Transactions with is_fraud beside them, and labels, of all days."""
    simulator = Simulator(CUSTOMERS, SEED)
    days = [simulator.day(day) for day in range(FIRST_DAY, FIRST_DAY + DAYS)]
    transactions = [day.transactions.with_columns(is_fraud=pl.Series(day.is_fraud)) for day in days]
    return pl.concat(transactions), pl.concat([day.labels for day in days])


def encoded(transactions: pl.DataFrame) -> list[bytes]:
    return [encode_transaction(row) for row in transactions.iter_rows(named=True)]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    first, second, other = (Simulator(CUSTOMERS, seed).day(FIRST_DAY) for seed in (SEED, SEED, SEED + 1))
    assert encoded(first.transactions) == encoded(second.transactions)
    assert first.labels.equals(second.labels)
    assert not set(first.transactions["transaction_id"]) & set(other.transactions["transaction_id"])
    assert first.transactions["amount_minor"].to_list() != other.transactions["amount_minor"].to_list()


def test_a_day_is_the_same_whatever_was_simulated_before_so_a_live_stream_can_go_on_with_a_history():
    transactions, _ = simulated()
    last = FIRST_DAY + DAYS - 1
    alone = Simulator(CUSTOMERS, SEED).day(last).transactions
    assert alone.equals(transactions.filter(pl.col("event_time_ms") // DAY_MS == last).drop("is_fraud"))


def test_every_transaction_passes_the_streams_own_check_and_comes_back_as_it_was():
    transactions = simulated()[0].head(5000).drop("is_fraud")
    n = len(transactions)
    arrival = transactions["event_time_ms"].to_list()
    decoded = decode_transactions(encoded(transactions), [0] * n, range(n), arrival, ReadingRules(0))
    assert decoded.refusals == []
    assert decoded.transactions.select(transactions.columns).equals(transactions)


def test_transactions_hold_no_label_and_labels_nothing_but_labels():
    day = Simulator(CUSTOMERS, SEED).day(FIRST_DAY)
    assert set(day.transactions.columns) <= set(COLUMNS)
    assert set(day.labels.columns) == set(LABEL_COLUMNS) - {"partition", "offset"}


def test_ids_are_unique_and_transactions_come_in_the_order_of_their_time():
    transactions, _ = simulated()
    assert transactions["transaction_id"].is_unique().all()
    assert transactions["event_time_ms"].is_sorted()


def test_the_number_of_customers_gives_about_the_transactions_wanted_and_one_a_day_each():
    wanted = 36_000
    assert customers_for(wanted, DAYS) == CUSTOMERS
    assert abs(len(simulated()[0]) - wanted) < 0.05 * wanted


def test_between_half_a_percent_and_one_and_a_half_are_fraud():
    assert 0.005 < simulated()[0]["is_fraud"].mean() < 0.015


def test_frauds_are_labelled_late_by_all_sources_and_most_within_the_label_delay():
    transactions, labels = simulated()
    delays = labels.filter("is_fraud").join(transactions.filter("is_fraud"), on="transaction_id")
    days = (delays["label_time_ms"] - delays["event_time_ms"]) / DAY_MS
    assert set(delays["source"]) == {"chargeback", "analyst", "customer", "issuer"}
    assert days.min() > 0
    assert 0.8 < (days <= 7).mean() < 1
    median = dict(delays.select("source", days=days).group_by("source").median().iter_rows())
    assert median["customer"] < median["chargeback"]
    assert median["analyst"] < median["chargeback"]


def test_few_genuine_transactions_are_labelled_and_a_mistaken_report_is_corrected():
    transactions, labels = simulated()
    of_genuine = labels.join(transactions.filter(~pl.col("is_fraud")), on="transaction_id").sort("label_time_ms")
    assert 0 < of_genuine["transaction_id"].n_unique() < 0.01 * len(transactions)
    assert of_genuine["is_fraud"].any()
    assert not of_genuine.group_by("transaction_id", maintain_order=True).last()["is_fraud"].any()


def test_a_merchant_with_fraud_a_week_ago_has_more_of_it_now_which_is_what_delayed_merchant_risk_lives_on():
    transactions, _ = simulated()
    week = (pl.col("event_time_ms") // DAY_MS - FIRST_DAY) // 7
    weekly = transactions.group_by("merchant_id", week=week).agg(pl.col("is_fraud").sum())
    earlier = weekly.filter(pl.col("is_fraud") >= 3).select("merchant_id", week=pl.col("week") + 2)
    now = transactions.with_columns(week=week)
    after_fraud = now.join(earlier, on=["merchant_id", "week"], how="semi")["is_fraud"].mean()
    assert after_fraud > 5 * now["is_fraud"].mean()


def test_honest_customers_also_travel_spend_a_lot_and_use_new_devices():
    genuine = simulated()[0].filter(~pl.col("is_fraud"))
    typical = pl.col("amount_minor").median().over("user_id")
    assert genuine.filter(pl.col("amount_minor") > 10 * typical).height > 100
    assert genuine.group_by("user_id").agg(pl.col("country").n_unique())["country"].mean() > 2
    assert genuine.group_by("user_id").agg(pl.col("device_id").drop_nulls().n_unique())["device_id"].mean() > 1


def test_customers_get_refunds_store_cards_mistype_and_pay_in_two_currencies():
    genuine = simulated()[0].filter(~pl.col("is_fraud"))
    refunds, verifications = (genuine.filter(type=name) for name in ("refund", "verification"))
    assert 0.005 < len(refunds) / len(genuine) < 0.02
    assert (refunds["amount_minor"] < 0).all()
    assert len(verifications) > 20
    assert (verifications["amount_minor"] == 0).all()
    assert (genuine.filter(type="purchase")["amount_minor"] > 0).all()
    declined = genuine.filter(outcome="declined")
    assert 0.01 < len(declined) / len(genuine) < 0.03
    assert declined["decline_reason"].is_not_null().all()
    assert genuine.filter(outcome="approved")["decline_reason"].is_null().all()
    assert dict(genuine.group_by("currency").agg(pl.col("country").unique()).iter_rows())["USD"] == ["US"]


def test_a_wave_of_card_testing_shows_in_the_declines_of_one_shop():
    waves = [campaign("card_testing_wave", seed) for seed in range(20)]
    for wave in waves:
        shops, tests = np.unique(wave.merchant, return_counts=True)
        shop = wave[wave.merchant == shops[tests.argmax()]]
        assert len(np.unique(shop.customer)) >= 10
        assert shop.is_declined.mean() > 0.5
        assert np.ptp(shop.time_ms[shop.is_declined]) <= HOUR_MS
    spent = np.concatenate([wave.amount_minor[~wave.is_declined] for wave in waves])
    assert spent.max() > 5000


def test_the_issuer_reports_declined_frauds_and_nobody_disputes_them():
    transactions, labels = simulated()
    of_declined = labels.join(transactions.filter("is_fraud", outcome="declined"), on="transaction_id")
    assert len(of_declined) > 10
    assert set(of_declined["source"]) == {"issuer"}


def campaign(name: str, seed: int):
    pattern = next(pattern for pattern in PATTERNS if pattern.name == name)
    return pattern.draw(make_population(CUSTOMERS, SEED), FIRST_DAY, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(5))
def test_each_kind_of_fraud_differs_in_who_where_how_much_and_how_fast(seed):
    merchants = make_population(CUSTOMERS, SEED).merchants
    lasts_ms = {pattern.name: np.ptp(campaign(pattern.name, seed).time_ms) for pattern in PATTERNS}
    assert lasts_ms["stolen_card_spree"] < 12 * HOUR_MS
    assert lasts_ms["account_takeover"] < 2 * DAY_MS
    assert lasts_ms["compromised_merchant"] > 10 * DAY_MS
    assert lasts_ms["slow_burn"] > 2 * DAY_MS

    compromised = campaign("compromised_merchant", seed)
    assert len(set(compromised.merchant)) == 1
    assert len(set(compromised.customer)) > 5
    assert compromised.time_ms.min() >= (FIRST_DAY + 2) * DAY_MS

    takeover = campaign("account_takeover", seed)
    assert len(set(takeover.customer)) == len(set(takeover.device)) == 1
    assert (takeover.merchant >= merchants.first_online).all()

    tests = campaign("card_testing", seed)
    assert len(tests) >= 6
    assert (tests.amount_minor[:-1] <= 300).all()
    assert np.ptp(tests.time_ms[:-1]) < 2 * HOUR_MS


def test_a_saved_simulation_goes_on_where_it_stopped_with_the_labels_it_owed(tmp_path):
    labels = Simulator(CUSTOMERS, SEED).day(FIRST_DAY).labels
    stopped = Simulation(CUSTOMERS, SEED, FIRST_DAY, row=17)
    stopped.expect(labels)
    SimulationFolder(tmp_path).save(stopped)
    resumed = SimulationFolder(tmp_path).load()
    assert (resumed.customers, resumed.seed, resumed.day, resumed.row) == (CUSTOMERS, SEED, FIRST_DAY, 17)

    half = labels["label_time_ms"].sort()[len(labels) // 2]
    due = resumed.labels_due(half)
    assert (due["label_time_ms"] <= half).all()
    assert resumed.labels_due(half).is_empty()
    assert set(due["transaction_id"]) | set(resumed.labels_due(2**62)["transaction_id"]) == set(
        labels["transaction_id"]
    )


def test_without_a_saved_simulation_there_is_none(tmp_path):
    assert SimulationFolder(tmp_path).load() is None


def test_everybody_who_pays_or_is_paid_has_a_name():
    simulator = Simulator(CUSTOMERS, SEED)
    transactions = simulator.day(FIRST_DAY).transactions
    customers, merchants = simulator.customers(), simulator.merchants()
    assert set(transactions["user_id"]) <= set(customers["user_id"])
    assert set(transactions["merchant_id"]) <= set(merchants["merchant_id"])
    assert customers["name"].str.len_chars().min() > 0
    assert customers["card"].str.contains(r"^\*{4} \d{4}$").all()


def test_a_new_kind_of_fraud_begins_on_its_day_and_changes_nothing_else():
    without = Simulator(CUSTOMERS, SEED)
    with_new = Simulator(CUSTOMERS, SEED, new_kinds_from(FIRST_DAY + 1))
    assert with_new.day(FIRST_DAY).transactions.equals(without.day(FIRST_DAY).transactions)
    new_frauds, columns = 0, ["user_id", "merchant_id", "amount_minor", "event_time_ms"]
    for number in range(FIRST_DAY + 1, FIRST_DAY + 8):
        day = with_new.day(number)
        assert not (day.is_new_kind & ~day.is_fraud).any()
        others = day.transactions.filter(~pl.Series(day.is_new_kind)).select(columns)
        assert others.equals(without.day(number).transactions.select(columns))
        new_frauds += day.is_new_kind.sum()
    assert new_frauds
