"""``./run bench cluster``: the streaming job in one process, on a Spark cluster that loses a worker, and as two jobs.

Executors only read the topic: the driver scores. So a cluster can show what it costs and that it loses nothing; more
transactions a second come from more jobs, each with partitions, and processor cores, of its own. No job shares its
micro-batches out to other processes here.
"""

import json
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.cluster.spark_cluster import Cluster, spark_cluster
from benchmarks.streaming.inputs import Inputs
from benchmarks.streaming.load import Load
from benchmarks.streaming.measure import PERCENTILES
from benchmarks.streaming.scene import Scene, scene, second_job
from fraud_stack.ledger import take_ledger

app = typer.Typer(add_completion=False)

_ANSWER_S = 120.0
_WORKERS = 2
_MEMORY = "512m"
_HALVES = ("0,1", "2,3")
_ALONE = {"FRAUD_STREAM_LANES": "1"}


@dataclass(frozen=True)
class Bench:
    """``rate`` a second for ``seconds``, and a backlog of ``transactions``."""

    inputs: Inputs
    folder: Path
    rate: int
    seconds: float
    transactions: int
    show: Callable[[str], None]

    def one_process(self) -> dict[str, object]:
        with scene("job", self.folder / "inputs", self.folder / "one", _ALONE) as playing:
            load = self._warm(playing)
            return self._told("one process", self._measured(playing, load))

    def on_cluster(self) -> dict[str, object]:
        with spark_cluster(self.folder, _WORKERS, _MEMORY) as cluster:
            own = _ALONE | {"FRAUD_SPARK_MASTER": cluster.address, "FRAUD_SPARK_MEMORY": _MEMORY}
            with scene("job", self.folder / "inputs", self.folder / "cluster", own) as playing:
                load = self._warm(playing)
                found = self._measured(playing, load) | self._with_a_kill(load, cluster)
                return self._told("cluster", found | _ledger(playing))

    def as_two_jobs(self) -> dict[str, object]:
        one, other = (_ALONE | {"FRAUD_STREAM_PARTITIONS": half} for half in _HALVES)
        with (
            scene("job", self.folder / "inputs", self.folder / "two", one) as playing,
            second_job(playing, self.folder / "inputs", self.folder / "other", other) as second,
        ):
            load = self._warm(playing)
            with playing.frozen(), second.frozen():
                backlog = self._burst(load)
            return self._told("two jobs", {"backlog_per_s": self._worked_off(load, backlog)} | _ledger(playing))

    def _warm(self, playing: Scene) -> Load:
        load = Load(playing, chain(self.inputs.history, self.inputs.traffic()))
        load.warm_up(len(self.inputs.history))
        load.steady(self.rate, self.seconds / 2)
        return load

    def _measured(self, playing: Scene, load: Load) -> dict[str, object]:
        latency_ms = self._steady(load)
        with playing.frozen():
            began = self._burst(load)
        return {"latency_ms": latency_ms, "backlog_per_s": self._worked_off(load, began)}

    def _with_a_kill(self, load: Load, cluster: Cluster) -> dict[str, object]:
        killer = threading.Timer(self.seconds / 4, cluster.workers[0].kill)
        killer.start()
        with_a_kill = self._steady(load)
        killer.join()
        found = {"latency_ms_with_a_kill": with_a_kill, "latency_ms_after": self._steady(load)}
        return found | {"alive_workers": cluster.alive_workers()}

    def _steady(self, load: Load) -> dict[str, float]:
        position = load.position()
        load.steady(self.rate, self.seconds)
        if load.wait(_ANSWER_S) is None:
            raise RuntimeError(f"not everything is answered within {_ANSWER_S:.0f} s")
        latencies = load.latencies_ms(*position)
        return {name: float(np.percentile(latencies, at)) for name, at in PERCENTILES.items()}

    def _burst(self, load: Load) -> float:
        load.burst(self.transactions)
        return time.time()

    def _worked_off(self, load: Load, began: float) -> int:
        ended = load.wait(_ANSWER_S)
        if ended is None:
            raise RuntimeError(f"the backlog is not answered within {_ANSWER_S:.0f} s")
        return round(self.transactions / (ended - began))

    def _told(self, name: str, found: dict[str, object]) -> dict[str, object]:
        self.show(f"{name}: {json.dumps(found)}")
        return found


@app.command()
def main(
    rate: Annotated[int, typer.Option(min=1, help="Transactions a second.")] = 500,
    seconds: Annotated[float, typer.Option(min=5, help="Measured at that rate.")] = 20.0,
    transactions: Annotated[int, typer.Option(min=1, help="Size of the backlog.")] = 120_000,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Latency at a steady rate, backlog throughput, a worker killed under load, and the ledger of it all."""
    began = time.monotonic()

    def show(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    with tempfile.TemporaryDirectory(prefix="fraud-bench-") as name:
        folder = Path(name)
        (folder / "inputs").mkdir()
        inputs = Inputs(customers=5_000)
        inputs.train(folder / "inputs")
        show(f"{len(inputs.history):,} transactions of history, models trained")
        bench = Bench(inputs, folder, rate, seconds, transactions, show)
        figures = {
            "one process": bench.one_process(),
            "cluster": bench.on_cluster(),
            "two jobs": bench.as_two_jobs(),
        }
    if json_file is not None:
        json_file.write_text(json.dumps(figures) + "\n")


def _ledger(playing: Scene) -> dict[str, object]:
    ledger = take_ledger(playing.settings)
    return {"ledger": asdict(ledger) | {"is_balanced": ledger.is_balanced}}


if __name__ == "__main__":
    app()
