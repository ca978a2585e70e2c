"""No room of the house grows until nobody finds anything in it."""

from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = {"benchmarks", "fraud_assets", "fraud_assets_tests", "fraud_core", "fraud_io", "fraud_stack", "streaming"}
MOST_FILES = 14


def test_no_room_holds_more_files_than_one_can_take_in_at_a_glance():
    modules = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py") if file.name != "__init__.py"]
    rooms = Counter(file.parent.relative_to(ROOT) for file in modules)
    assert {room.parts[0] for room in rooms} == PACKAGES
    full = {str(room): count for room, count in rooms.items() if count > MOST_FILES}
    assert not full, (
        f"more than {MOST_FILES} Python files in {full}: move those that change together into a room of their own"
        " (docs/architecture.md says what the rooms are)"
    )
