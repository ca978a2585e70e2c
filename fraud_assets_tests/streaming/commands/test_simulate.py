"""The simulated stream, without Kafka: what it sends, and when on its own clock."""

import threading
from itertools import pairwise
from pathlib import Path

import pytest

from fraud_core.settings import Settings
from fraud_core.simulation.simulator import Simulator
from fraud_core.simulation.state import Simulation
from fraud_core.timestamps import DAY_MS, HOUR_MS
from streaming.commands import simulate

pytestmark = pytest.mark.streaming

DAYS = 3
FIRST_DAY = 20_454  # 2026-01-01: what a day holds depends on its date


class Producer:
    """Notes on which clock each label is sent; stops the stream after ``DAYS`` days."""

    def __init__(self, first_day: int, stop: threading.Event) -> None:
        self.first_day, self.stop = first_day, stop
        self.clock_ms, self.verdicts_at_ms, self.verdicts = 0, [], {}

    def send_transaction(self, transaction: dict) -> None:
        self.clock_ms = transaction["event_time_ms"]
        if self.clock_ms >= (self.first_day + DAYS) * DAY_MS:
            self.stop.set()

    def send_label(self, transaction_id: str, is_fraud: bool, source: str, label_time_ms: int) -> None:
        if source == "analyst":
            self.verdicts_at_ms.append(label_time_ms)
            self.verdicts[transaction_id] = is_fraud

    def poll(self) -> None:
        pass


class Analysts:
    """Verdicts on the same transactions whenever they are asked."""

    def __init__(self, transaction_ids: list[str]) -> None:
        self._transaction_ids = transaction_ids

    def verdicts(self, now_ms: int) -> list[str]:
        return self._transaction_ids

    def close(self) -> None:
        pass


def streamed(home: Path, simulation: Simulation) -> Producer:
    stop = threading.Event()
    producer = Producer(simulation.day, stop)
    simulate._stream(Settings(home=home), producer, simulation, 1e9, stop)
    return producer


def test_labels_keep_coming_while_the_stream_is_behind_its_rate(tmp_path, monkeypatch):
    monkeypatch.setattr(simulate, "Analysts", lambda _: Analysts(["t"]))
    times_ms = streamed(tmp_path, Simulation(200, 7, FIRST_DAY)).verdicts_at_ms
    # A transaction may be an hour or two after the one before it, at night.
    assert max(later - earlier for earlier, later in pairwise(times_ms)) < 6 * HOUR_MS
    assert len(times_ms) > 8 * DAYS


def test_analysts_say_what_is_true_of_payments_that_an_earlier_run_sent(tmp_path, monkeypatch):
    earlier, today = (Simulator(2_000, 7).day(FIRST_DAY + day) for day in (-1, 0))
    sent = today.transactions.height // 2
    ids = [*earlier.transactions["transaction_id"], *today.transactions["transaction_id"][:sent]]
    is_fraud = [*earlier.is_fraud.tolist(), *today.is_fraud[:sent].tolist()]
    assert any(is_fraud)
    monkeypatch.setattr(simulate, "Analysts", lambda _: Analysts(ids))
    simulation = Simulation(2_000, 7, FIRST_DAY, row=sent)
    told = streamed(tmp_path, simulation).verdicts
    assert {name: told[name] for name in ids} == dict(zip(ids, is_fraud, strict=True))
