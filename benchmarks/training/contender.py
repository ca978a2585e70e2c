"""``python -m benchmarks.training.contender NAME HOME CANDIDATES``: one way to train, in a process of its own.

Reads the lake below HOME and writes figures.json there. Knows which ways there are; what each does stands elsewhere.
"""

import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

from benchmarks.training.meter import Meter
from fraud_io.folders import Lake


def usual(home: Path, candidates: int, meter: Meter) -> dict:
    """The search is cut to ``candidates``, and its processor and wall time extrapolated when the figures are made."""
    import polars as pl

    from benchmarks.training.data import AS_OF_MS, settings_in
    from benchmarks.training.usual import usual_recipe
    from fraud_assets.lake.offset_log import OffsetLog
    from fraud_core.labels.known import LABEL_COLUMNS
    from fraud_core.payments.transaction import COLUMNS
    from fraud_core.training.training_set import time_split

    settings = settings_in(home)
    with meter.step("read"):
        transactions = OffsetLog(Lake(settings.lake).transactions).scan(COLUMNS).sort("offset").collect()
        frauds = OffsetLog(Lake(settings.lake).labels).scan(LABEL_COLUMNS).collect()["transaction_id"]
        is_fraud = transactions.select(pl.col("transaction_id").is_in(frauds.implode())).to_series().to_numpy()
    later = time_split(AS_OF_MS, settings).test
    delay_days = settings.label_delay_days
    return asdict(usual_recipe(transactions, is_fraud, later, meter, delay_days=delay_days, candidates=candidates))


def ours(home: Path, _: int, meter: Meter) -> dict:
    from benchmarks.training.data import settings_in
    from benchmarks.training.ours import daily_run

    return asdict(daily_run(settings_in(home), meter))


def without_shortcuts(home: Path, _: int, meter: Meter) -> dict:
    """The daily run whose fits have every genuine row, and those of the search as many bins and trees as the final."""
    from fraud_core.training import balancing, candidate, search

    # Not settings of the product: only this comparison wants them.
    balancing.MAX_FITTED_EVERY = 1
    search.search_sample = partial(search.search_sample, fraction=1.0)
    candidate.MAX_BIN = search.FINAL_MAX_BIN
    search.SEARCH_HASTE = 1
    search.FINAL_MAX_EVERY = 1
    search.RATIO_TREES = search.DEFAULTS["n_estimators"]
    return ours(home, 0, meter)


CONTENDERS = {"usual": usual, "ours": ours, "without_shortcuts": without_shortcuts}


def main(name: str, home: str, candidates: str) -> None:
    with Meter() as meter:
        figures = CONTENDERS[name](Path(home), int(candidates), meter)
    steps = [asdict(step) for step in meter.steps()]
    (Path(home) / "figures.json").write_text(json.dumps({**figures, "steps": steps, "peak_bytes": meter.peak_bytes}))


if __name__ == "__main__":
    main(*sys.argv[1:])
