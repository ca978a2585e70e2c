"""What is measured of a contender: how fast it works off a backlog, and its latency at steady rates."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from benchmarks.streaming.inputs import Inputs
from benchmarks.streaming.load import Load
from benchmarks.streaming.scene import Contender, Scene, scene

PERCENTILES = {"p50": 50, "p95": 95, "p99": 99, "max": 100}

_ANSWER_S = 120.0


@dataclass(frozen=True)
class Options:
    """``transactions`` of the backlog; ``warm_up`` seconds of the first rate, then of each rate half as many as are
    measured, then the ``seconds`` measured."""

    rates: Sequence[int]
    warm_up: float
    seconds: float
    transactions: int


@dataclass
class Measured:
    """latency_ms : percentiles by rate; None when it did not answer everything within two minutes.
    cores : processor seconds a second, by rate and on the backlog. memory_mib : the most that was seen.
    """

    backlog_per_s: float | None = None
    latency_ms: dict[str, dict[str, float] | None] = field(default_factory=dict)
    cores: dict[str, float] = field(default_factory=dict)
    memory_mib: int = 0


def measure(
    contender: Contender, inputs: Inputs, trained: Path, options: Options, show: Callable[[str], None]
) -> Measured:
    """Start the contender, warm it up with the history, and measure. RuntimeError when it ends or never answers."""
    measured = Measured()
    with scene(contender, trained, trained.parent) as playing:
        load = Load(playing, chain(inputs.history, inputs.traffic()))
        load.warm_up(len(inputs.history))
        show(f"{contender}: answers")
        load.steady(options.rates[0], options.warm_up)
        show(f"{contender}: warm")
        for rate in options.rates:
            measured.latency_ms[str(rate)], measured.cores[str(rate)] = _steady(playing, load, rate, options.seconds)
            show(f"{contender}: {rate}/s {measured.latency_ms[str(rate)]}, {measured.cores[str(rate)]} cores")
        measured.backlog_per_s, measured.cores["backlog"] = _backlog(playing, load, options.transactions)
        show(f"{contender}: backlog {measured.backlog_per_s}/s, {measured.cores['backlog']} cores")
        measured.memory_mib = round(playing.memory_mib)
    return measured


def _steady(playing: Scene, load: Load, rate: int, seconds: float) -> tuple[dict[str, float] | None, float]:
    load.steady(rate, seconds / 2)
    position, cpu_s, began = load.position(), playing.cpu_s(), time.monotonic()
    load.steady(rate, seconds)
    cores = (playing.cpu_s() - cpu_s) / (time.monotonic() - began)
    playing.look_at_memory()
    is_answered = load.wait(_ANSWER_S)
    latencies = load.latencies_ms(*position)
    percentiles = {name: float(np.percentile(latencies, at)) for name, at in PERCENTILES.items()}
    return percentiles if is_answered else None, round(cores, 2)


def _backlog(playing: Scene, load: Load, transactions: int) -> tuple[float | None, float]:
    with playing.frozen():
        load.burst(transactions)
        cpu_s, began = playing.cpu_s(), time.time()
    ended = load.wait(_ANSWER_S)
    if ended is None:
        return None, 0.0
    playing.look_at_memory()
    return round(transactions / (ended - began)), round((playing.cpu_s() - cpu_s) / (ended - began), 2)
