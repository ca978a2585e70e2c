"""What every layer shares."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from fraud_assets_tests.apicurio import Apicurio
from fraud_assets_tests.services import Broker, Valkey

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling

# The first call compiles (numba), and machines are shared: a slow example is no failure. The same examples every run.
settings.register_profile("project", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("project")

# A JVM of a test ends before what its second compiler makes of the code is worth the work.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")
# Threads of one process that wait for each other give the core to the other process.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Tests of a group run in one process, one after the other: those that share a broker, and the tests of a file, which
# share what is made for them.
_GROUPS = {"streaming": "broker", "io": "broker"}
_LONGEST_FIRST = ("streaming", "io", "assets", "benchmarks")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The tests of the embedded stack come together: it is there for no longer than they are. For several processes
    what takes longest comes first, beside all others."""
    items.sort(key=lambda item: "stack" in item.fixturenames)
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: [*_LONGEST_FIRST, _layer(item.nodeid)].index(_layer(item.nodeid)))


# Not xdist_group and --dist loadgroup: xdist 3.8 writes the group into an id that pytest 9.1 no longer reads.
def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> "LoadScopeScheduling":
    """Who runs what of ``pytest -n 2``."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _GROUPS.get(_layer(nodeid), nodeid.partition("::")[0])

    return ByGroup(config, log)


def _layer(nodeid: str) -> str:
    """The folder below fraud_assets_tests."""
    return nodeid.split("/")[1]


@pytest.fixture(scope="session")
def running_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.kill()


@pytest.fixture
def valkey(running_valkey: Valkey) -> Valkey:
    """An empty store."""
    running_valkey.client.flushdb()
    return running_valkey


@pytest.fixture(scope="session")
def running_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apicurio]:
    server = Apicurio(tmp_path_factory.mktemp("registry") / "registry.log")
    yield server
    server.kill()


@pytest.fixture
def registry(running_registry: Apicurio) -> Apicurio:
    """A schema registry that answers; what a test before has registered is still there."""
    running_registry.start()
    return running_registry


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One for all tests that need nothing else of a stack. Without topics: ``broker.make_topics_anew``."""
    running = Broker(tmp_path_factory.mktemp("broker"))
    yield running
    running.kill()
