"""``python -m streaming.commands.simulate history|live``: simulated transactions and their labels, into Kafka.

The simulation has a clock of its own. A history ends at a midnight in the past; the live stream goes on from there, a
transaction every 1/rate seconds, so that customers keep their habits however fast it runs: at 5,000 transactions a
simulated day and 200 a second, a day passes in 25 s. Labels become known on the same clock. Once it has caught up with
the real time it stays there: events then carry the present time, and every customer pays more often than before.
"""

import json
import signal
import threading
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from fraud_core.settings import Settings
from fraud_core.simulation.fraud_patterns import new_kinds_from
from fraud_core.simulation.simulator import SimulatedDay, Simulator, customers_for
from fraud_core.simulation.state import Simulation
from fraud_core.timestamps import DAY_MS, HOUR_MS, now_ms
from fraud_io.simulation_folder import SimulationFolder
from streaming.commands.analysts import Analysts
from streaming.commands.command_line import run
from streaming.commands.producer import RecordProducer

app = typer.Typer(help="Send simulated transactions and labels to Kafka.", add_completion=False)

_TICK_S = 0.02
_REPORT_EVERY_S = 2.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Counts:
    transactions: int = 0
    frauds: int = 0
    labels: int = 0
    seconds: float = 0.0


@app.command()
def history(
    transactions: Annotated[int, typer.Option(min=1000, help="About how many.")] = 300_000,
    days: Annotated[int, typer.Option(min=1, help="Over how many days.")] = 60,
    end: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day the history ends before, UTC (default: today).")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same transactions.")] = 7,
) -> None:
    """Send a history, with the labels that were known by its end; the later ones come with the live stream."""
    settings = Settings()
    end_day = ((end or datetime.now(UTC)).replace(tzinfo=UTC) - _EPOCH) // timedelta(days=1)
    simulation = Simulation(customers_for(transactions, days), seed, end_day - days)
    simulator = Simulator(simulation.customers, seed)
    counts, began, reported = Counts(), time.monotonic(), time.monotonic()
    with RecordProducer(settings) as producer:
        while simulation.day < end_day:
            day = simulator.day(simulation.day)
            for transaction in day.transactions.iter_rows(named=True):
                producer.send_transaction(transaction)
            simulation.day += 1
            simulation.expect(day.labels)
            counts.labels += _send_labels(producer, simulation, simulation.day * DAY_MS)
            counts.transactions += len(day.transactions)
            counts.frauds += int(day.is_fraud.sum())
            if time.monotonic() - reported > _REPORT_EVERY_S:
                reported = time.monotonic()
                print(f"   day {simulation.day - end_day + days:3} of {days}, {counts.transactions:,} sent", flush=True)
    SimulationFolder(settings.home).save(simulation)
    SimulationFolder(settings.home).save_people(simulator)
    _finish(counts, time.monotonic() - began, None)


@app.command()
def live(
    rate: Annotated[float, typer.Option(min=0.1, help="Transactions a second.")] = 200.0,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="How long (default: until Ctrl-C).")] = None,
    customers: Annotated[int, typer.Option(min=50, help="How many, when there is no history to go on with.")] = 5000,
    seed: Annotated[int, typer.Option(help="Seed, when there is no history to go on with.")] = 7,
    new_fraud: Annotated[bool, typer.Option("--new-fraud", help="Let a new kind of fraud begin, for good.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the counts to this file.")] = None,
) -> None:
    """Send live transactions at a steady rate, from where the history ended, and labels when they are due."""
    settings = Settings()
    today = (datetime.now(UTC) - _EPOCH) // timedelta(days=1)
    simulation = SimulationFolder(settings.home).load() or Simulation(customers, seed, today)
    if new_fraud and simulation.new_fraud_from is None:
        simulation.new_fraud_from = simulation.day + 1
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if minutes is not None:
        timer = threading.Timer(minutes * 60, stop.set)
        timer.daemon = True  # a command that is stopped earlier does not wait for it
        timer.start()
    began = time.monotonic()
    print(f"   {rate:g} transactions a second; a simulated day lasts {simulation.customers / rate:.0f} s", flush=True)
    with RecordProducer(settings) as producer:
        counts = _stream(settings, producer, simulation, rate, stop)
    SimulationFolder(settings.home).save(simulation)
    _finish(counts, time.monotonic() - began, json_file)


def _stream(
    settings: Settings, producer: RecordProducer, simulation: Simulation, rate: float, stop: threading.Event
) -> Counts:
    simulator = Simulator(simulation.customers, simulation.seed, new_kinds_from(simulation.new_fraud_from))
    new_frauds = SimulationFolder(settings.home).new_fraud
    analysts, counts = Analysts(settings), Counts()
    # Analysts may still be asked about what an earlier run sent just before it ended.
    frauds = _frauds(simulator.day(simulation.day - 1))
    began, told_ms = time.monotonic(), 0
    try:
        while not stop.is_set():
            day = simulator.day(simulation.day)
            frauds |= _frauds(day)
            if simulation.row == 0:
                simulation.expect(day.labels)
                # Before they are sent: whoever counts how many were caught knows them when they are decided.
                _note(new_frauds, day.transactions["transaction_id"].filter(pl.Series(day.is_new_kind)))
            rows = day.transactions[simulation.row :].iter_rows(named=True)
            for transaction, is_fraud in zip(rows, day.is_fraud[simulation.row :], strict=True):
                ahead_s = counts.transactions / rate - (time.monotonic() - began)
                clock_ms = transaction["event_time_ms"]
                # Also when it has fallen behind: labels of days that come at once would pass for a flood of false ones.
                if ahead_s > _TICK_S or clock_ms > told_ms + HOUR_MS:
                    counts.labels += _tell(producer, simulation, analysts, clock_ms, frauds)
                    told_ms = clock_ms
                    producer.poll()
                    stop.wait(max(0.0, ahead_s))
                if stop.is_set():
                    return counts
                transaction["event_time_ms"] = min(transaction["event_time_ms"], now_ms())
                producer.send_transaction(transaction)
                simulation.row += 1
                counts.transactions += 1
                counts.frauds += int(is_fraud)
            simulation.day, simulation.row = simulation.day + 1, 0
    finally:
        analysts.close()
    return counts


def _frauds(day: SimulatedDay) -> set[str]:
    return set(day.transactions["transaction_id"].filter(pl.Series(day.is_fraud)))


def _note(file: Path, transaction_ids: pl.Series) -> None:
    if len(transaction_ids):
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as lines:
            lines.writelines(f"{name}\n" for name in transaction_ids)


def _tell(producer: RecordProducer, simulation: Simulation, analysts: Analysts, clock_ms: int, frauds: set[str]) -> int:
    """Send the labels due on the stream's clock, the analysts' verdicts among them."""
    time_ms = min(clock_ms, now_ms())
    verdicts = analysts.verdicts(clock_ms)
    for name in verdicts:
        producer.send_label(name, name in frauds, "analyst", time_ms)
    return len(verdicts) + _send_labels(producer, simulation, clock_ms)


def _send_labels(producer: RecordProducer, simulation: Simulation, clock_ms: int) -> int:
    due = simulation.labels_due(clock_ms)
    for label in due.iter_rows(named=True):
        producer.send_label(**label | {"label_time_ms": min(label["label_time_ms"], now_ms())})
    return len(due)


def _finish(counts: Counts, seconds: float, json_file: Path | None) -> None:
    counts.seconds = round(seconds, 1)
    print(
        f"   {counts.transactions:,} transactions, {counts.frauds:,} of them fraud, and {counts.labels:,} labels "
        f"in {seconds:.1f} s ({counts.transactions / seconds:,.0f}/s)",
        flush=True,
    )
    if json_file is not None:
        json_file.write_text(json.dumps(asdict(counts)) + "\n")


if __name__ == "__main__":
    run(app)
