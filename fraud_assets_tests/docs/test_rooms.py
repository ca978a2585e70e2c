"""docs/architecture.md draws the floors that the import contracts enforce, and names every room."""

import re
import tomllib

from fraud_io.folders import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()
LAYERS = {
    contract["containers"][0]: contract["layers"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    if "containers" in contract
}


def test_the_drawing_has_the_floors_of_the_contracts():
    drawn = re.findall(r"\w+(?: · \w+)*", PAGE.split("```text")[2].split("```")[0])
    floors = [set(floor.split(" · ")) for floor in drawn]
    for package in ("fraud_core", "streaming", "fraud_stack"):
        wanted = [set(layer.split(" | ")) for layer in LAYERS[package]]
        assert [floor for floor in floors if floor in wanted] == wanted


def test_every_room_is_described():
    for package in ("fraud_core", "streaming", "fraud_stack", "fraud_assets"):
        rooms = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
        assert rooms
        assert {room for room in rooms if f"`{room}`" not in PAGE} == set()
