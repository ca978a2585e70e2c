"""The commands that README and docs show, run as they stand there, in a folder with the files they name.

Blocks that are not run here say so on their page (docs/test_command_blocks.py). These are the last tests of the stack,
which the file's name sees to: they send payments of their own through it, and stop most of it.
"""

import shlex
import subprocess
from pathlib import Path

import polars as pl
import pytest

from benchmarks.handbook import Handbook, handbook
from fraud_assets_tests.docs.pages import RUNNABLE_BLOCKS, Block
from fraud_assets_tests.e2e.conftest import Stack
from fraud_core.simulation.simulator import Simulator
from fraud_core.timestamps import DAY_MS, format_rfc3339_ms, parse_rfc3339_ms
from fraud_io.folders import ROOT

pytestmark = pytest.mark.e2e

# Text of a page and what stands for it here: less of the same work, and the stack that is up already.
SMALLER = {
    "Handbook(seed=0)": "Handbook.of_transactions(60_000)",
    "--search 24": "--search 1",
    "--folds 4\n": "--folds 1 --search 1\n",
    "--folds 4 ": "--folds 1 ",
    "--train-days 60\n": "--train-days 60 --search 1\n",
    "./run up\n./run replay": "./run status\n./run replay",
    "./run down && ./run up\n": "./run down && ./run up kafka store\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with ``run``, ``.venv`` and packages as in the repository."""
    (tmp_path / "run").write_text(f'#!/bin/sh\nexec {shlex.quote(str(ROOT / "run"))} "$@"\n')
    (tmp_path / "run").chmod(0o755)
    for name in (".venv", "benchmarks", "fraud_core"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def write_simulated(folder: Path) -> None:
    """payments.csv with the six required columns, of the days that README's backtest is about; chargebacks.csv with
    the frauds among them."""
    simulator, first_day = Simulator(400, seed=1), parse_rfc3339_ms("2026-03-20T00:00:00Z") // DAY_MS
    days = [simulator.day(first_day + day) for day in range(56)]
    transactions = pl.concat(day.transactions for day in days)
    times = [format_rfc3339_ms(time_ms) for time_ms in transactions["event_time_ms"]]
    names = ("transaction_id", "user_id", "merchant_id", "currency")
    amounts = (transactions["amount_minor"] / 100).alias("amount")
    transactions.select(*names, amounts, timestamp=pl.Series(times)).write_csv(folder / "payments.csv")
    frauds = transactions.filter(pl.concat(pl.Series(day.is_fraud) for day in days))
    frauds.select("transaction_id", is_fraud=pl.lit(1)).write_csv(folder / "chargebacks.csv")


def write_handbook(folder: Path) -> None:
    """payments.parquet and chargebacks.csv of the months that docs/evaluation.md is about."""
    rows = handbook(Handbook.of_transactions(60_000))
    rows.drop("is_fraud").write_parquet(folder / "payments.parquet")
    rows.select("transaction_id", pl.col("is_fraud").cast(pl.Int8)).write_csv(folder / "chargebacks.csv")


FILES = {"payments.csv": write_simulated, "payments.parquet": write_handbook}


@pytest.mark.parametrize("block", RUNNABLE_BLOCKS, ids=str)
def test_a_block_of_commands_does_what_its_page_shows(stack: Stack, folder: Path, block: Block):
    for file, write in FILES.items():
        if file in block.text:
            write(folder)
    text = block.text
    for shown, smaller in SMALLER.items():
        text = text.replace(shown, smaller)
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        env=stack.environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=540,
    )
    assert result.returncode == 0, f"{text}\n{result.stdout[-5000:]}\n{result.stderr[-5000:]}"
    if "./run replay" in text:
        ledger = stack.run("ledger")
        assert ledger.returncode == 0, ledger.stdout + ledger.stderr


def test_everything_that_stands_for_text_of_a_page_is_still_there():
    assert [shown for shown in SMALLER if not any(shown in block.text for block in RUNNABLE_BLOCKS)] == []
