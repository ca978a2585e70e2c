"""``./run bench anomaly``: how soon a kind of fraud is found that no label ever told the model of.

Each kind of the simulator in turn is left out until a model is trained, and begins then. Found means: a person knows
that one of its payments was fraud.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
import typer

from benchmarks.drift.scene import FIRST_DAY, Payments, features_of, simulate, train
from fraud_core.decisions.shares import is_within
from fraud_core.settings import Settings
from fraud_core.simulation.fraud_patterns import GENUINE, PATTERNS
from fraud_core.timestamps import DAY_MS

TRAINED_DAY, DAYS = 90, 130
_VERDICT_MS = DAY_MS  # from the payment to the verdict of whoever reviews it
_FEW = 5

app = typer.Typer(add_completion=False)


@app.command()
def main(
    seeds: Annotated[int, typer.Option(min=1, help="How many simulations.")] = 3,
    first_seed: Annotated[int, typer.Option(help="Of the first one; the others follow it.")] = 1,
    customers: Annotated[int, typer.Option(min=1000, help="Each pays about once a day.")] = 4000,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Days from the first payment of a new kind until 1 and 5 of them are known, by way of finding out."""
    figures = []
    for seed in range(first_seed, first_seed + seeds):
        for pattern in PATTERNS:
            figures.append({"seed": seed, "kind": pattern.name, **_found(customers, seed, pattern.name, Settings())})
            print(json.dumps(figures[-1]), flush=True)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=1) + "\n")


def _found(customers: int, seed: int, kind: str, settings: Settings) -> dict:
    payments = simulate(customers, seed, DAYS, {kind: {0: 0.0, TRAINED_DAY: 1.0}})
    model = train(payments, TRAINED_DAY, settings)
    is_new = payments.day >= TRAINED_DAY
    values = features_of(payments, settings)[is_new]
    rows = payments.rows.filter(is_new).select("transaction_id", "event_time_ms")
    is_kind = (payments.kind.filter(is_new) == kind).to_numpy()
    is_flagged = model.score(values) >= model.card.threshold
    is_strange = (model.anomaly.score(values) >= model.anomaly.limit) & ~is_flagged
    is_drawn = is_within(settings.review_share, "review", rows["transaction_id"].to_list()) & ~is_flagged
    time_ms = rows["event_time_ms"].to_numpy()
    known = {
        "alerts": time_ms[is_kind & is_flagged] + _VERDICT_MS,
        "strangest": time_ms[is_kind & is_strange] + _VERDICT_MS,
        "random": time_ms[is_kind & is_drawn] + _VERDICT_MS,
        **dict(_labelled(payments, rows.filter(is_kind))),
    }
    begin_ms = time_ms[is_kind].min() if is_kind.any() else (FIRST_DAY + TRAINED_DAY) * DAY_MS
    return {
        "payments": int(is_kind.sum()),
        "routed_share": float(is_strange.mean()),
        "flagged_share": float(is_flagged.mean()),
        "fraud_among_strangest": float((payments.kind.filter(is_new) != GENUINE).to_numpy()[is_strange].mean()),
        "found": {way: len(times) for way, times in known.items()},
        **{
            f"days_to_{count}": {way: _days_to(count, times, begin_ms) for way, times in known.items()}
            for count in (1, _FEW)
        },
    }


def _labelled(payments: Payments, rows: pl.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """When labels tell of ``rows``: chargebacks alone, and whoever reports first, both within the days simulated."""
    until_ms = (FIRST_DAY + DAYS) * DAY_MS
    told = payments.labels.filter("is_fraud", pl.col("label_time_ms") < until_ms)
    told = told.join(rows, on="transaction_id", how="semi").sort("label_time_ms")
    yield "chargebacks", told.filter(pl.col("source") == "chargeback")["label_time_ms"].to_numpy()
    yield "any label", told["label_time_ms"].to_numpy()


def _days_to(count: int, times_ms: np.ndarray, begin_ms: int) -> float | None:
    if len(times_ms) < count:
        return None
    return round(float(np.sort(times_ms)[count - 1] - begin_ms) / DAY_MS, 1)


if __name__ == "__main__":
    app()
