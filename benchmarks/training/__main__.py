"""``./run bench training``: the usual recipe and the daily run on the same rows, in one call."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from benchmarks.handbook import Handbook
from benchmarks.training.data import arrivals, fill_lake, settings_in
from benchmarks.training.report import figures_of, table

app = typer.Typer(add_completion=False)


@app.command()
def main(
    transactions: Annotated[int, typer.Option(min=50_000, help="About so many, over 183 days.")] = 1_000_000,
    candidates: Annotated[
        int, typer.Option(min=1, max=20, help="Of the usual recipe's 20; the rest is extrapolated.")
    ] = 3,
    without_shortcuts: Annotated[
        bool, typer.Option("--without-shortcuts", help="Also the daily run with a search on all rows (slow).")
    ] = False,
    only: Annotated[Literal["usual", "ours"] | None, typer.Option(help="Only this one.")] = None,
    seed: Annotated[int, typer.Option(help="Of the data.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Measure processor and wall seconds of each step, peak memory, and the quality on the same later two weeks."""
    # Ended from outside, it ends the contender too and leaves no files.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    began = time.monotonic()
    names = [*([only] if only else ["usual", "ours"]), *(["without_shortcuts"] if without_shortcuts else [])]
    measured = {}
    with tempfile.TemporaryDirectory(prefix="fraud-bench-") as folder:
        rows = arrivals(Handbook.of_transactions(transactions, seed))
        for name in names:
            fill_lake(settings_in(Path(folder) / name), *rows)
        count = rows[0].height
        del rows
        for name in names:
            print(f"{time.monotonic() - began:6.1f} s  {name}: {count:,} transactions", flush=True)
            home = Path(folder) / name
            command = [sys.executable, "-m", "benchmarks.training.contender", name, str(home), str(candidates)]
            ended = subprocess.run(command, stderr=subprocess.PIPE, text=True)
            if ended.returncode:
                raise SystemExit(f"{name} failed:\n{ended.stderr[-3000:]}")
            measured[name] = json.loads((home / "figures.json").read_text())
    figures = figures_of(measured, count, candidates)
    print(table(figures))
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    app()
