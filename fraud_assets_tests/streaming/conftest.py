"""One Valkey and one broker for all streaming tests; each test finds the store empty, and the topics if it asks."""

from collections.abc import Iterator

import pytest

from fraud_assets_tests.streaming.services import Broker, Valkey


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
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Without topics: ``broker.make_topics_anew``."""
    running = Broker(tmp_path_factory.mktemp("broker"))
    yield running
    running.kill()
