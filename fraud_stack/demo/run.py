"""``./run demo``: the whole system from nothing to live decisions by a model trained minutes before, then a summary."""

import contextlib
import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from rich.live import Live

from fraud_core.settings import Settings
from fraud_core.simulation.state import Simulation
from fraud_core.timestamps import DAY_MS, iso_date, now_ms
from fraud_io.dagster_client import DagsterClient
from fraud_io.errors import OperatorError
from fraud_io.folders import ROOT
from fraud_io.kafka.reader import TopicReader
from fraud_io.model_registry import ModelRegistry
from fraud_io.simulation_folder import SimulationFolder
from fraud_stack.demo.live_view import render, summary_line
from fraud_stack.demo.loop import LONGEST_DAYS, Loop, LoopResult, NotTakenOverError, labels_until_learned
from fraud_stack.demo.watch import LiveView, Watcher
from fraud_stack.ledger import lines, take_ledger
from fraud_stack.services.memory import MemoryPeak
from fraud_stack.services.stack import Stack
from fraud_stack.steps import Steps

JOB = "daily_training"
HISTORY_DAYS = 60
_MODEL_TIMEOUT_S = 60
_LOOK_S = 0.2
_LAST_PREDICTIONS_S = 2.0
_LINE_EVERY_S = 10


@dataclass(frozen=True)
class DemoOptions:
    transactions: int
    minutes: float
    rate: float
    loop: bool | None
    keep: bool
    json_file: Path | None


def run_demo(settings: Settings, options: DemoOptions) -> None:
    """Raises OperatorError when a step failed, the ledger is not balanced, or a service died."""
    if options.json_file is not None and not options.json_file.absolute().parent.is_dir():
        raise OperatorError(f"the folder of {options.json_file} does not exist: make it first")
    began = time.monotonic()
    steps = Steps()
    shows_loop = options.loop is not False and _has_room(settings, steps, is_wanted=options.loop is True)
    a_day = options.transactions / HISTORY_DAYS
    # The sensor would start a training before there is enough of the new kind of fraud.
    patient = {"retrain_labels": labels_until_learned(settings, a_day)} if shows_loop else {}
    stack = Stack(settings.model_copy(update=patient), steps.show)
    with stack.lock(), contextlib.ExitStack() as at_exit:
        with steps.step("services", "Start Kafka, Valkey, MLflow, Dagster and the streaming job"):
            stack.up()
        if not options.keep:
            at_exit.callback(stack.down)
        memory = at_exit.enter_context(MemoryPeak(stack.home))
        with steps.step("history", f"Produce {options.transactions:,} transactions of {HISTORY_DAYS} days and labels"):
            simulation = _history(stack, steps, options, LONGEST_DAYS if shows_loop else 0)
        with steps.step("training", "Train a model: Dagster materializes the asset graph"):
            _train(stack, steps, simulation.day - 1)
        with steps.step("live", f"Score {options.rate:g} live transactions a second for {options.minutes:g} minutes"):
            view = _live(stack, steps, options, simulation.customers / options.rate)
        first_at, version = cast(float, view.first_at), cast(str, view.model_version)  # _live waits for a prediction
        loop = None
        if shows_loop:
            try:
                loop = _loop(stack, steps, simulation, version)
            except NotTakenOverError as error:
                if options.loop:
                    raise
                steps.show(str(error))
        with steps.step("ledger", "Balance the books: each transaction decided exactly once"):
            ledger = take_ledger(settings, stack.check_alive)
            for line in lines(ledger):
                steps.show(line)

        summary = {
            "seconds_to_first_live_prediction": round(settings.setup_seconds + first_at - began, 1),
            "steps": {"setup": settings.setup_seconds, **steps.seconds},
            "ledger": ledger.to_dict(),
            "latency_ms": view.latency_ms(),
            "throughput_per_s": round(view.predictions / options.minutes / 60, 1),
            "live": {"alerts": view.alerts, "precision": view.precision, "recall": view.recall, **view.labelled},
            "model": _model(settings, version),
            "loop": loop and asdict(loop),
            "peak_memory_mib": round(memory.peak_mib),
            "urls": {"dagster": settings.dagster_address, "mlflow": settings.mlflow_address},
        }
        _show(steps, summary, options)
        if not ledger.is_balanced:
            raise OperatorError("the ledger is not balanced: see ./run logs stream")


def _has_room(settings: Settings, steps: Steps, is_wanted: bool) -> bool:
    """The loop runs through months of simulated days; a clock that has reached the present lets none pass.
    OperatorError when there is no room for a loop that ``is_wanted``; otherwise a message.
    """
    earlier = SimulationFolder(settings.home).load()
    if earlier is None or earlier.day <= now_ms() // DAY_MS - LONGEST_DAYS:
        return True
    reason = (
        f"the simulation in {settings.home.absolute()} has come to {iso_date(earlier.day * DAY_MS)}, and a new kind of "
        f"fraud needs up to {LONGEST_DAYS} days before today, until a model has learned it and taken over: set "
        "FRAUD_HOME to a new folder to see that"
    )
    if is_wanted:
        raise OperatorError(reason)
    steps.show(reason)
    return False


def _history(stack: Stack, steps: Steps, options: DemoOptions, days_after_live: int) -> Simulation:
    """Produce it, or continue the one that an earlier demo left in the same folder."""
    settings = stack.settings
    simulation = SimulationFolder(settings.home).load()
    if simulation is not None:
        steps.show(f"there is a history already: going on with its {simulation.customers:,} customers")
        return simulation
    if any(end > start for start, end in TopicReader(settings).bounds(settings.topics.transactions).values()):
        raise OperatorError(
            f"Kafka at {settings.bootstrap_servers} holds transactions already, your own or those of a demo that was "
            f"interrupted, and this one would mix with them: remove {settings.home.absolute()} if it holds nothing of "
            "worth, or set FRAUD_HOME to a new folder; to go on with your own use ./run up"
        )
    # The live part runs through days as fast as its rate allows; the history ends early enough to leave it room.
    live_days = options.minutes * 60 * options.rate / (options.transactions / HISTORY_DAYS)
    end = datetime.now(UTC).date() - timedelta(days=math.ceil(live_days) + days_after_live)
    arguments = ("--transactions", options.transactions, "--days", HISTORY_DAYS, "--end", end.isoformat())
    with _producer("history", *arguments) as producer:
        while producer.poll() is None:
            stack.check_alive()
            time.sleep(0.2)
    if producer.returncode:
        raise OperatorError("the simulator could not produce (see above)")
    return cast(Simulation, SimulationFolder(settings.home).load())  # the simulator has left it


@contextlib.contextmanager
def _producer(*arguments: object, output: int | None = None) -> Iterator[subprocess.Popen]:
    """The simulator as a process; ended, with its last records sent, when the block is left early."""
    command = [sys.executable, "-m", "streaming.commands.simulate", *(str(argument) for argument in arguments)]
    producer = subprocess.Popen(command, cwd=ROOT, stdout=output)
    try:
        yield producer
    finally:
        if producer.poll() is None:
            producer.send_signal(signal.SIGTERM)
        producer.wait()


def _train(stack: Stack, steps: Steps, day: int) -> None:
    dagster = DagsterClient(stack.settings.dagster_address)
    run_id = dagster.launch(JOB, iso_date(day * DAY_MS))
    steps.show(f"{stack.settings.dagster_address}/runs/{run_id}")
    for step in dagster.follow(run_id, stack.check_alive):
        steps.show(f"{step.name:24} {step.seconds:6.1f} s  {step.status.lower()}")


def _live(stack: Stack, steps: Steps, options: DemoOptions, day_s: float) -> LiveView:
    """Watch the stream while the simulator produces. The model must show up in the job without a restart.

    day_s : seconds that a simulated day lasts.
    """
    settings = stack.settings
    label_delay_s = settings.label_delay_days * day_s
    arguments = ("live", "--rate", options.rate, "--minutes", options.minutes)
    # What the simulator prints would be written into the live view.
    simulator = _producer(*arguments, output=subprocess.DEVNULL)
    with Watcher(settings, label_delay_s) as watcher, simulator as producer, _screen(steps) as show:
        began = time.monotonic()
        while producer.poll() is None:
            stack.check_alive()
            view = watcher.look(_LOOK_S)
            show(view)
            if view.first_at is None and time.monotonic() - began > _MODEL_TIMEOUT_S:
                raise OperatorError(
                    f"no prediction by the new model within {_MODEL_TIMEOUT_S} s: see ./run logs stream"
                )
        if producer.returncode:
            raise OperatorError("the simulator could not produce (see above)")
        line = summary_line(view, time.monotonic())
        watcher.look(_LAST_PREDICTIONS_S)
    if view.first_at is None:
        raise OperatorError("no prediction by the new model came: see ./run logs stream")
    steps.show(line)
    return view


def _loop(stack: Stack, steps: Steps, simulation: Simulation, version: str) -> LoopResult:
    def simulator(day_s: float) -> contextlib.AbstractContextManager:
        return _producer("live", "--rate", simulation.customers / day_s, "--new-fraud", output=subprocess.DEVNULL)

    return Loop(stack, steps, version, simulator).show()


@contextlib.contextmanager
def _screen(steps: Steps):
    """A function that shows a LiveView: redrawn in place on a terminal, as a line now and then elsewhere."""
    if steps.console.is_terminal:
        with Live(console=steps.console, refresh_per_second=4, transient=True) as live:
            yield lambda view: live.update(render(view, time.monotonic()))
        return
    last = time.monotonic()

    def line(view: LiveView) -> None:
        nonlocal last
        if time.monotonic() - last >= _LINE_EVERY_S:
            last = time.monotonic()
            steps.show(summary_line(view, last))

    yield line


def _model(settings: Settings, version: str) -> dict:
    """Version and test metrics of the model that decided, from its MLflow run."""
    metrics = ModelRegistry(settings.mlflow_address, settings.model_name).metrics(version)
    names = ("average_precision", "roc_auc", "f2", "precision", "recall")
    return {"version": version, **{name: metrics[f"test_{name}"] for name in names}}


def _loop_lines(loop: dict) -> list[str]:
    return [
        f"a new kind of fraud: version {loop['champion']} found {loop['recall_of_champion']:.0%} of it, version "
        f"{loop['challenger']}, trained on its labels, {loop['recall_of_challenger']:.0%} ({loop['decided']} payments)",
        f"training began after {loop['seconds_to_training']:.0f} s, its model decided after "
        f"{loop['seconds_to_promotion']:.0f} s",
    ]


def _show(steps: Steps, summary: dict, options: DemoOptions) -> None:
    if options.json_file is not None:
        options.json_file.write_text(json.dumps(summary, indent=2) + "\n")
    model, latency = summary["model"], summary["latency_ms"]
    lines = [
        f"first live prediction by a trained model after {summary['seconds_to_first_live_prediction']:.0f} s",
        f"latency p50 {latency['p50']} ms, p95 {latency['p95']} ms, p99 {latency['p99']} ms",
        f"model {model['version']} on its test period: average precision {model['average_precision']:.3f}, "
        f"F2 {model['f2']:.3f}, precision {model['precision']:.3f}, recall {model['recall']:.3f}",
        *(_loop_lines(summary["loop"]) if summary["loop"] else []),
        f"peak memory of the stack {summary['peak_memory_mib']} MiB",
    ]
    if options.keep:
        lines += [f"{name} is at {url}" for name, url in summary["urls"].items()]
        lines += ["the stack stays up: ./run status, ./run produce, ./run down"]
    steps.console.print("[bold]Summary[/bold]")
    for line in lines:
        steps.show(line)
