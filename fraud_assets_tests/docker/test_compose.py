"""The Compose file keeps what docs/deployment.md promises of every service, profiles included."""

from pathlib import Path

import pytest
import yaml

from fraud_stack.secrets import EXAMPLE, names

ROOT = Path(__file__).resolve().parents[2]
SERVICES = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
ONCE = {name for name, service in SERVICES.items() if service["restart"] in ("no", "on-failure")}
LASTING = sorted(SERVICES.keys() - ONCE)

of_each_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
of_each_lasting_service = pytest.mark.parametrize("service", [SERVICES[name] for name in LASTING], ids=LASTING)


def test_the_root_compose_file_includes_the_one_in_docker():
    root = yaml.safe_load((ROOT / "compose.yaml").read_text())
    assert root == {"name": "fraud-detection", "include": ["docker/compose.yaml"]}


@of_each_lasting_service
def test_a_service_that_stays_has_a_health_check_and_is_started_again(service):
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert service["restart"] == "unless-stopped"


@of_each_service
def test_a_log_is_rotated(service):
    assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}


@of_each_service
def test_ports_are_open_to_this_machine_only(service):
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@of_each_service
def test_a_service_waits_for_the_health_of_what_it_needs_and_for_the_check_of_the_secrets(service):
    needed = service.get("depends_on", {})
    for name, dependency in needed.items():
        expected = "service_completed_successfully" if name in ONCE else "service_healthy"
        assert dependency["condition"] == expected
    assert service is SERVICES["secrets"] or "secrets" in _needed_in_the_end(service)


def test_the_memory_limits_of_all_services_that_stay_add_up_to_less_than_8_gb():
    assert sum(_mib(SERVICES[name]["mem_limit"]) for name in LASTING) * 2**20 < 8e9


def test_what_runs_once_is_limited_too():
    assert all(_mib(SERVICES[name]["mem_limit"]) <= 512 for name in ONCE)


@of_each_service
def test_images_are_pinned_or_our_own(service):
    name, _, tag = service["image"].rpartition(":")
    assert tag == "local" if name.startswith("fraud-detection") else any(character.isdigit() for character in tag)


@of_each_service
def test_volumes_are_named_or_configuration_that_is_only_read(service):
    for volume in service.get("volumes", []):
        assert not volume.startswith((".", "/")) or volume.endswith(":ro")


def test_the_check_of_the_secrets_is_given_each_of_them():
    assert SERVICES["secrets"]["environment"].keys() >= set(names(EXAMPLE.read_text()))


def _needed_in_the_end(service: dict) -> set[str]:
    direct = set(service.get("depends_on", {}))
    return direct.union(*(_needed_in_the_end(SERVICES[name]) for name in direct))


def _mib(limit: str) -> int:
    assert limit.endswith("m")
    return int(limit.removesuffix("m"))
