"""The simulated stream, without Kafka: what it sends, and when on its own clock."""

import threading
from itertools import pairwise

import pytest

from fraud_core.settings import Settings
from fraud_core.simulation.state import Simulation
from fraud_core.timestamps import DAY_MS, HOUR_MS, now_ms
from streaming import simulate

pytestmark = pytest.mark.streaming

DAYS = 3


class Producer:
    """Notes on which clock each label is sent; stops the stream after ``DAYS`` days."""

    def __init__(self, first_day: int, stop: threading.Event) -> None:
        self.first_day, self.stop = first_day, stop
        self.clock_ms, self.verdicts_at_ms = 0, []

    def send_transaction(self, transaction: dict) -> None:
        self.clock_ms = transaction["event_time_ms"]
        if self.clock_ms >= (self.first_day + DAYS) * DAY_MS:
            self.stop.set()

    def send_label(self, transaction_id: str, is_fraud: bool, source: str, label_time_ms: int) -> None:
        if source == "analyst":
            self.verdicts_at_ms.append(label_time_ms)

    def poll(self) -> None:
        pass


class Analysts:
    """One verdict whenever they are asked."""

    def __init__(self, settings: Settings) -> None:
        pass

    def verdicts(self, now_ms: int) -> list[str]:
        return ["t"]

    def close(self) -> None:
        pass


def test_labels_keep_coming_while_the_stream_is_behind_its_rate(tmp_path, monkeypatch):
    monkeypatch.setattr(simulate, "Analysts", Analysts)
    stop = threading.Event()
    simulation = Simulation(200, 7, now_ms() // DAY_MS - 30)
    producer = Producer(simulation.day, stop)
    simulate._stream(Settings(home=tmp_path), producer, simulation, 1e9, stop)
    times_ms = producer.verdicts_at_ms
    # A transaction may be an hour or two after the one before it, at night.
    assert max(later - earlier for earlier, later in pairwise(times_ms)) < 6 * HOUR_MS
    assert len(times_ms) > 8 * DAYS
