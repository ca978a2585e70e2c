"""Draws a dashboard's data from a running Prometheus: ``python docker/grafana/draw.py operations --out FILE``.

The same queries and the same grid as Grafana, not its looks: for the docs, where no Grafana runs.
"""

import argparse
import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path

import matplotlib
import numpy as np
import requests

matplotlib.use("agg")

from matplotlib import dates
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

DASHBOARDS = Path(__file__).parent / "dashboards"
_POINTS = 200
# Inches: a cell of the grid, the line at the top, and what is left free in a panel on the left, right, below, above.
_CELL, _TITLE = (0.62, 0.42), 0.4
_MARGINS, _NO_MARGINS = (0.55, 0.15, 0.35, 0.35), (0.1, 0.1, 0.1, 0.35)


def series(prometheus: str, target: dict, start: float, end: float) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Legend, times (Unix seconds) and values of each series of a panel's target."""
    step = max((end - start) / _POINTS, 1)
    parameters = {"query": target["expr"], "start": start, "end": end, "step": step}
    answer = requests.get(f"{prometheus}/api/v1/query_range", params=parameters, timeout=30)
    answer.raise_for_status()
    drawn = []
    for found in answer.json()["data"]["result"]:
        points = np.array(found["values"], dtype=float)
        drawn.append((legend(target["legendFormat"], found["metric"]), points[:, 0], points[:, 1]))
    return drawn


def legend(template: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda name: labels[name[1]], template)


def draw(dashboard: dict, prometheus: str, start: float, end: float, file: Path) -> None:
    panels = dashboard["panels"]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    width, height = 24 * _CELL[0], rows * _CELL[1] + _TITLE
    figure = plt.figure(figsize=(width, height))
    for panel in panels:
        at = panel["gridPos"]
        left, right, below, above = _MARGINS if panel["type"] == "timeseries" else _NO_MARGINS
        corner = at["x"] * _CELL[0] + left, (rows - at["y"] - at["h"]) * _CELL[1] + below
        size = at["w"] * _CELL[0] - left - right, at["h"] * _CELL[1] - below - above
        axes = figure.add_axes(
            (corner[0] / width, corner[1] / height, size[0] / width, size[1] / height), title=panel["title"]
        )
        axes.title.set_size(9)
        found = [one for target in panel["targets"] for one in series(prometheus, target, start, end)]
        if panel["type"] == "stat":
            _stat(axes, panel, found)
        else:
            axes.set_xlim(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC))
            _lines(axes, panel, found)
    day = time.strftime("%Y-%m-%d %H:%M", time.gmtime(end))
    figure.suptitle(
        f"{dashboard['title']}, {(end - start) / 60:.0f} minutes until {day} UTC",
        fontsize=11,
        y=1 - _TITLE / 2 / height,
    )
    figure.savefig(file, dpi=90)


def _lines(axes: Axes, panel: dict, found: list[tuple[str, np.ndarray, np.ndarray]]) -> None:
    for legend, times, values in found:
        axes.plot([datetime.fromtimestamp(at, UTC) for at in times], values, label=legend)
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
    axes.xaxis.set_major_locator(dates.AutoDateLocator(minticks=2, maxticks=5))
    axes.tick_params(labelsize=7)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.set_ylabel(_UNITS[panel["fieldConfig"]["defaults"]["unit"]], fontsize=7)
    if found:
        axes.legend(fontsize=7, framealpha=0.6)
    else:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center")


def _stat(axes: Axes, panel: dict, found: list[tuple[str, np.ndarray, np.ndarray]]) -> None:
    axes.set_axis_off()
    unit, names = panel["fieldConfig"]["defaults"]["unit"], panel["options"]["textMode"] == "name"
    mapped = {
        value: option["text"]
        for mapping in panel["fieldConfig"]["defaults"].get("mappings", [])
        for value, option in mapping["options"].items()
    }
    texts = []
    for legend, _, values in found:
        value = mapped.get(f"{values[-1]:g}") or _shown(values[-1], unit)
        texts.append(legend if names else f"{value}\n{legend}")
    for number, text in enumerate(texts or ["no data"]):
        place = (number + 0.5) / max(len(texts), 1)
        axes.text(place, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=9)


def _shown(value: float, unit: str) -> str:
    if unit == "dateTimeAsIso":
        return time.strftime("%Y-%m-%d", time.gmtime(value / 1000))
    return f"{value:.3g} {_UNITS[unit]}".strip()


_UNITS = {"none": "", "short": "", "s": "s", "reqps": "a second", "percentunit": "share", "dateTimeAsIso": ""}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dashboard", choices=sorted(file.stem for file in DASHBOARDS.glob("*.json")))
    parser.add_argument("--out", type=Path, required=True, help="PNG or SVG file to write")
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090")
    parser.add_argument("--minutes", type=float, default=60, help="how far back from now")
    options = parser.parse_args()
    dashboard = json.loads((DASHBOARDS / f"{options.dashboard}.json").read_text())
    end = time.time()
    draw(dashboard, options.prometheus, end - options.minutes * 60, end, options.out)


if __name__ == "__main__":
    main()
