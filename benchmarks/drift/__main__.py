"""``./run bench drift``: how soon a change of the traffic is seen, and how often a stable month is taken for one."""

import json
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from benchmarks.drift.changes import CHANGES, FIRST_CHANGED_DAY, TRAINED_DAY, Scene, date_of, stable_scene
from fraud_core.features.table import FEATURES
from fraud_core.monitoring.drift import SCORE, Reference, judge, make_reference, monitored, statistics
from fraud_core.settings import Settings
from fraud_core.timestamps import day_of

app = typer.Typer(add_completion=False)


@app.command()
def main(
    seeds: Annotated[int, typer.Option(min=1, help="How many simulations.")] = 3,
    first_seed: Annotated[int, typer.Option(help="Of the first one; the others follow it.")] = 1,
    customers: Annotated[int, typer.Option(min=1000, help="Each pays about once a day.")] = 5000,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Days from a change to its alarm, and stable days in alarm."""
    figures = []
    for seed in range(first_seed, first_seed + seeds):
        scene = stable_scene(customers, seed, Settings())
        rows = scene.rows().with_columns(day_of("event_time_ms"))
        reference = make_reference(rows.filter(pl.col("day") < date_of(TRAINED_DAY)), monitored(FEATURES))
        figures.append(_stable(seed, _judged(scene, reference, TRAINED_DAY)))
        print(json.dumps(figures[-1]), flush=True)
        # A name that is in alarm without a change says nothing about one.
        usual = set(figures[-1]["names"])
        for name, change in CHANGES.items():
            judged = _judged(change(scene), reference, FIRST_CHANGED_DAY)
            figures.append(_changed(seed, name, judged.filter(~pl.col("name").is_in(usual))))
            print(json.dumps(figures[-1]), flush=True)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=1) + "\n")


def _judged(scene: Scene, reference: Reference, from_day: int) -> pl.DataFrame:
    # Two days more, because an alarm looks back on them.
    rows = scene.rows().filter(day_of("event_time_ms") >= date_of(from_day - 2))
    return judge(statistics(rows, reference), reference).filter(pl.col("day") >= date_of(from_day))


def _stable(seed: int, judged: pl.DataFrame) -> dict:
    alarms = judged.filter("is_alarm")
    return {
        "seed": seed,
        "change": "none",
        "days": judged["day"].n_unique(),
        "days_in_alarm": alarms["day"].n_unique(),
        "names": sorted(set(alarms["name"])),
        "days_and_names_beyond": judged.filter("is_beyond").height,
        "largest_excess": dict(judged.group_by("name").agg(pl.col("excess").max()).sort("excess").tail(5).iter_rows()),
    }


def _changed(seed: int, change: str, judged: pl.DataFrame) -> dict:
    alarms = judged.filter("is_alarm")
    first = alarms["day"].min()
    return {
        "seed": seed,
        "change": change,
        "seen_on_day": first and (first - date_of(FIRST_CHANGED_DAY)).days + 1,
        "names": sorted(alarms.filter(pl.col("day") == first)["name"]) if first else [],
        "score_psi": judged.filter(pl.col("name") == SCORE)["psi"].mean(),
    }


if __name__ == "__main__":
    app()
