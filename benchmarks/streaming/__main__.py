"""``./run bench streaming``: the job, a plain loop and the usual way side by side, on this machine, in one call."""

import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.streaming.floor import floor_us
from benchmarks.streaming.inputs import Inputs
from benchmarks.streaming.measure import Options, measure
from benchmarks.streaming.report import table
from benchmarks.streaming.scene import CONTENDERS, Contender, embedded

app = typer.Typer(add_completion=False)


@app.command()
def main(
    rates: Annotated[str, typer.Option(help="Transactions a second.")] = "200,500,2000,5000",
    warm_up: Annotated[
        float, typer.Option(min=0, help="Seconds at the first rate before anything is measured. Java takes minutes.")
    ] = 240.0,
    seconds: Annotated[float, typer.Option(min=1, help="Measured at each rate, after half as many of warm-up.")] = 20.0,
    transactions: Annotated[int, typer.Option(min=1, help="Size of the backlog.")] = 240_000,
    only: Annotated[Contender | None, typer.Option(help="Only this one.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Measure backlog throughput, latency at steady rates, cores and memory of each contender, and the floor."""
    began = time.monotonic()

    def show(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    results = {}
    with tempfile.TemporaryDirectory(prefix="fraud-bench-") as folder:
        trained = Path(folder) / "inputs"
        trained.mkdir()
        inputs = Inputs()
        inputs.train(trained)
        show(f"{len(inputs.history):,} transactions of history, models trained")
        options = Options([int(rate) for rate in rates.split(",")], warm_up, seconds, transactions)
        for contender in [only] if only else CONTENDERS:
            results[contender] = measure(contender, inputs, trained, options, show)
        with embedded(trained, ("store",)) as settings:
            floor = floor_us(settings, inputs.history)
    print(table(results, floor))
    if json_file is not None:
        figures = {contender: asdict(measured) for contender, measured in results.items()}
        json_file.write_text(json.dumps(figures | {"floor_us": floor}) + "\n")


if __name__ == "__main__":
    app()
