"""The commands when something is wrong: one sentence that says what to do, a non-zero exit, nothing left behind."""

import os
import socket
from pathlib import Path

import pytest

from fraud_assets_tests.e2e.conftest import run
from fraud_core.simulation.state import Simulation
from fraud_core.timestamps import DAY_MS, now_ms
from fraud_io.simulation_folder import SimulationFolder
from fraud_stack.services.ports import free_ports
from fraud_stack.services.processes import stack_processes

pytestmark = pytest.mark.e2e


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A folder and a store port of its own; the other services are not started here."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")}
    return clean | {"FRAUD_HOME": str(tmp_path / "home"), "FRAUD_STORE_PORT": str(free_ports(1)[0])}


def refusal(environment: dict[str, str], *arguments: str) -> str:
    """What a command that must fail says: a sentence, or one with the log of a service below it."""
    result = run(environment, *arguments)
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["dmeo"], "No such command 'dmeo'"),
        (["up", "--nonsense"], "No such option: --nonsense"),
        (["up", "database"], "no service is called database"),
        (["logs", "database"], "there is no log of a service called database"),
        (["status"], "./run up"),
        (["demo", "--transactions", "many"], "Invalid value for '--transactions'"),
    ],
)
def test_a_wrong_word_gets_one_sentence(environment, arguments, sentence):
    said = refusal(environment, *arguments)
    assert sentence in said
    assert said.count("\n") == 1


def test_a_wrong_setting_is_named_as_the_variable_it_comes_from(environment):
    assert "FRAUD_PARTITIONS is set to 'x'" in refusal(environment | {"FRAUD_PARTITIONS": "x"}, "status")


def test_a_port_in_use_is_named_with_what_to_set(environment):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(environment["FRAUD_STORE_PORT"])))
        taken.listen()
        said = refusal(environment, "up", "store")
    assert f"port {environment['FRAUD_STORE_PORT']} (FRAUD_STORE_PORT) in use" in said


def test_a_folder_that_cannot_be_written_gets_one_sentence(environment, tmp_path):
    (tmp_path / "home").write_text("a file, not a folder")
    assert "FRAUD_HOME" in refusal(environment, "up", "store")


def test_a_history_that_leaves_the_loop_no_room_gets_one_sentence(environment):
    SimulationFolder(Path(environment["FRAUD_HOME"])).save(Simulation(100, 7, now_ms() // DAY_MS))
    assert "set FRAUD_HOME to a new folder" in refusal(environment, "demo", "--loop")


def test_brokers_that_do_not_answer_are_named(environment):
    address = f"127.0.0.1:{free_ports(1)[0]}"
    said = refusal(environment | {"FRAUD_KAFKA_BOOTSTRAP_SERVERS": address}, "up", "store")
    assert f"Kafka at {address}" in said
    assert "FRAUD_KAFKA_BOOTSTRAP_SERVERS" in said


def test_a_service_that_dies_is_reported_with_its_log_and_nothing_stays_behind(environment, tmp_path):
    manifest = tmp_path / "home" / "store" / "appendonlydir" / "appendonly.aof.manifest"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("not a manifest\n")
    said = refusal(environment, "up", "store")
    assert "store died" in said
    assert "AOF manifest" in said
    assert not stack_processes(tmp_path / "home")


def test_the_stack_starts_is_up_once_and_stops(environment, tmp_path):
    assert run(environment, "up", "store").returncode == 0
    try:
        status = run(environment, "status")
        assert status.returncode == 0
        assert "store" in status.stdout
        assert "ready" in status.stdout
        assert "already up" in refusal(environment, "up", "store")
    finally:
        assert run(environment, "down").returncode == 0
    assert not stack_processes(tmp_path / "home")
    assert run(environment, "down").returncode == 0
