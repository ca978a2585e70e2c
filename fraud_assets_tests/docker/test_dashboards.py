"""The dashboards as files: no Grafana runs in the tests, so what it would refuse or draw badly is looked for here."""

import itertools
import json
from pathlib import Path

import pytest
import yaml

GRAFANA = Path(__file__).parents[2] / "docker" / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))


def cells(panel: dict) -> set[tuple[int, int]]:
    at = panel["gridPos"]
    columns, rows = range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
    return set(itertools.product(columns, rows))


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_panels_lie_beside_each_other_inside_the_24_columns_and_ask_the_provisioned_source(file):
    (source,) = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())["datasources"]
    panels = json.loads(file.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in itertools.combinations(panels, 2):
        assert not cells(one) & cells(other), (one["title"], other["title"])
    for panel in panels:
        assert max(column for column, _ in cells(panel)) < 24
        assert panel["datasource"] == {"type": source["type"], "uid": source["uid"]}
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)


def test_there_are_two_dashboards_of_different_names():
    dashboards = [json.loads(file.read_text()) for file in DASHBOARDS]
    assert {dashboard["uid"] for dashboard in dashboards} == {"fraud-operations", "fraud-model-quality"}
