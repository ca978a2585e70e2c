"""Airflow from its own lock beside Dagster, each in processes of its own, on free ports and in new folders."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import pytest
import requests

from fraud_core.settings import Settings
from fraud_stack.paths import run_folder
from fraud_stack.services.dagster_home import code_socket, dagster_home, workspace_file, write_dagster_configuration
from fraud_stack.services.ports import free_ports
from fraud_stack.services.readiness import dagster_is_loaded, socket_accepts

ROOT = Path(__file__).parents[2]
AIRFLOW = ROOT / "docker" / "airflow"
DAG = "fraud_detection_training"
T = TypeVar("T")
# A run starts when it is launched, without the queue of the daemon: the daemon is started by the test that is about it.
_INSTANCE = """\
telemetry:
  enabled: false
run_coordinator:
  module: dagster._core.run_coordinator
  class: DefaultRunCoordinator
"""


@dataclass(frozen=True)
class Dagster:
    settings: Settings
    environment: dict[str, str]
    behaviour: Path

    def behave(self, partition: str, how: str) -> None:
        """Runs of the partition ``fail`` or ``wait`` from now on."""
        (self.behaviour / partition).write_text(how)

    def runs(self, partition: str) -> list[dict]:
        """Every run of the partition, newest first: id, status and tags."""
        query = """query ($tags: [ExecutionTag!]) {runsOrError(filter: {tags: $tags}) {
            ... on Runs {results {runId status tags {key value}}}}}"""
        found = self.ask(query, tags=[{"key": "dagster/partition", "value": partition}])
        return found["runsOrError"]["results"]

    def ask(self, query: str, **variables: object) -> dict:
        url = f"{self.settings.dagster_address}/graphql"
        answer = requests.post(url, json={"query": query, "variables": variables}, timeout=30).json()
        assert "errors" not in answer, answer
        return answer["data"]

    @contextmanager
    def daemon(self) -> Iterator[None]:
        with process(self.environment, _python("dagster._daemon", "run", "-w", workspace_file(self.settings))):
            yield


@dataclass(frozen=True)
class Airflow:
    address: str

    def trigger(self, logical_date: str) -> str:
        """Start the DAG as its timetable does at that moment; returns the DAG run's id."""
        return self.ask("POST", f"dags/{DAG}/dagRuns", json={"logical_date": logical_date})["dag_run_id"]

    def task(self, run: str) -> dict:
        return self.ask("GET", f"dags/{DAG}/dagRuns/{run}/taskInstances/daily_training")

    def link(self, run: str) -> str | None:
        return self.ask("GET", f"dags/{DAG}/dagRuns/{run}/taskInstances/daily_training/links")["extra_links"].get(
            "Dagster run"
        )

    def log(self, run: str) -> str:
        return str(self.ask("GET", f"dags/{DAG}/dagRuns/{run}/taskInstances/daily_training/logs/1"))

    def mark_failed(self, run: str) -> None:
        self.ask("PATCH", f"dags/{DAG}/dagRuns/{run}/taskInstances/daily_training", json={"new_state": "failed"})

    def ask(self, method: str, path: str, **arguments: object) -> dict:
        headers = {"Authorization": f"Bearer {self._token}"}
        response = requests.request(method, f"{self.address}/api/v2/{path}", headers=headers, timeout=30, **arguments)
        assert response.ok, response.text
        return response.json()

    @cached_property
    def _token(self) -> str:
        return requests.get(f"{self.address}/auth/token", timeout=30).json()["access_token"]


@pytest.fixture(scope="session")
def airflow_bin() -> Path:
    """The environment of docker/airflow/uv.lock, made the way ./run makes the other one."""
    venv = AIRFLOW / ".venv"
    stamp, wanted = venv / "installed", (AIRFLOW / "uv.lock").read_text()
    if not (stamp.exists() and stamp.read_text() == wanted):
        uv = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
        requirements, python = venv / "requirements.txt", venv / "bin" / "python"
        for command in (
            (uv, "venv", "--quiet", "--clear", "--python", sys.executable, venv),
            (uv, "export", "--quiet", "--frozen", "--no-emit-project", "--no-header", "-o", requirements),
            (uv, "pip", "sync", "--quiet", "--require-hashes", "--python", python, requirements),
        ):
            subprocess.run(command, cwd=AIRFLOW, check=True)
        stamp.write_text(wanted)
    return venv / "bin"


@pytest.fixture(scope="package")
def dagster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dagster]:
    home = tmp_path_factory.mktemp("dagster")
    behaviour = home / "behaviour"
    behaviour.mkdir()
    [port] = free_ports(1)
    settings = Settings(home=home, dagster_port=port, scheduler="airflow")
    write_dagster_configuration(settings)
    (dagster_home(settings) / "dagster.yaml").write_text(_INSTANCE)
    run_folder(home).mkdir()
    environment = _clean_environment() | {
        "DAGSTER_HOME": str(dagster_home(settings)),
        "PYTHONPATH": str(ROOT),
        "FRAUD_HOME": str(home),
        "FRAUD_SCHEDULER": "airflow",
        "BEHAVIOUR": str(behaviour),
    }
    code = _python(
        *("dagster", "api", "grpc", "--socket", code_socket(settings), "-a", "defs"),
        *("-m", "fraud_assets_tests.airflow.small_dagster", "--inject-env-vars-from-instance"),
    )
    web = _python("dagster_webserver", "-h", "127.0.0.1", "-p", port, "-w", workspace_file(settings))
    with ExitStack() as processes:
        processes.enter_context(process(environment, code))
        wait_for(lambda: socket_accepts(code_socket(settings)))
        processes.enter_context(process(environment, web))
        wait_for(lambda: dagster_is_loaded(settings.dagster_address))
        yield Dagster(settings, environment, behaviour)


@pytest.fixture(scope="package")
def airflow_environment(dagster: Dagster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    port, trigger_logs, worker_logs = free_ports(3)
    address = f"http://127.0.0.1:{port}"
    settings = {
        "core": {
            "dags_folder": AIRFLOW / "dags",
            "plugins_folder": AIRFLOW / "plugins",
            "load_examples": False,
            "simple_auth_manager_all_admins": True,
            "execution_api_server_url": f"{address}/execution/",
            "parallelism": 2,
        },
        "api": {"port": port, "base_url": address, "workers": 1},
        "logging": {"trigger_log_server_port": trigger_logs, "worker_log_server_port": worker_logs},
    }
    return _clean_environment() | {
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
        **{f"AIRFLOW__{section}__{name}".upper(): str(value) for section, names in settings.items()
           for name, value in names.items()},
        "FRAUD_SCHEDULER": "airflow",
        "FRAUD_DAGSTER_URL": dagster.settings.dagster_address,
        "FRAUD_DAGSTER_PUBLIC_URL": "https://dagster.example",
    }  # fmt: skip


@pytest.fixture(scope="package")
def airflow(airflow_bin: Path, airflow_environment: dict[str, str]) -> Iterator[Airflow]:
    """Scheduler, triggerer, DAG processor and API server on SQLite, and the DAG known to them."""
    environment = airflow_environment | {"PATH": f"{airflow_bin}:{os.environ['PATH']}"}
    system = Airflow(environment["AIRFLOW__API__BASE_URL"])
    with process(environment, (airflow_bin / "airflow", "standalone")):
        wait_for(lambda: _knows_the_dag(system))
        yield system


@contextmanager
def process(environment: dict[str, str], command: tuple[object, ...]) -> Iterator[None]:
    """A process in a group of its own, whose members are gone afterwards."""
    started = subprocess.Popen([str(word) for word in command], env=environment, start_new_session=True)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            started.wait(15)
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)


def wait_for(condition: Callable[[], T], timeout_s: float = 120) -> T:
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.5)
    return result


def _knows_the_dag(system: Airflow) -> bool:
    try:
        return bool(system.ask("GET", f"dags/{DAG}"))
    except (requests.RequestException, AssertionError):
        return False


def _clean_environment() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("FRAUD_", "AIRFLOW", "PYTHONPATH"))
    }


def _python(module: str, *arguments: object) -> tuple[object, ...]:
    return (sys.executable, "-m", module, *arguments)
