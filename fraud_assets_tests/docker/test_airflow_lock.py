"""The version of Airflow that the project names is the one that its own lock installs."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_both_projects_and_both_locks_have_the_same_airflow_and_the_locks_no_address():
    group = _toml("pyproject.toml")["dependency-groups"]["airflow"]
    own = [
        line for line in _toml("docker/airflow/pyproject.toml")["project"]["dependencies"] if "apache-airflow" in line
    ]
    named = {line.partition("==")[2] for line in [*group, *own]}
    locked = {
        package["version"]
        for lock in ("uv.lock", "docker/airflow/uv.lock")
        for package in _toml(lock)["package"]
        if package["name"] == "apache-airflow"
    }
    assert len(named) == 1
    assert named == locked
    assert "://" not in (ROOT / "docker/airflow/uv.lock").read_text()


def _toml(file: str) -> dict:
    return tomllib.loads((ROOT / file).read_text())
