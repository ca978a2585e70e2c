"""A real Prometheus for tests: where its binaries come from, and one that scrapes with the project's configuration."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import yaml

from fraud_stack.services.ports import free_ports

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "docker" / "prometheus"
_UNPACKED = ROOT / ".tools" / "prometheus"
_PROGRAMS = ("prometheus", "promtool")
_READY_S = 30.0


def program(name: str) -> Path:
    """``prometheus`` or ``promtool``: from PATH, else out of Debian's package, which needs no root to be unpacked.

    Skips the test where there is neither; in continuous integration that is a failure.
    """
    on_path = shutil.which(name)
    if on_path:
        return Path(on_path)
    unpacked = _UNPACKED / name
    if not unpacked.exists() and shutil.which("apt-get"):
        _unpack()
    if not unpacked.exists():
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up("there is no Prometheus here and no apt-get to fetch it: install it (macOS: brew install prometheus)")
    return unpacked


def _unpack() -> None:
    """Lists and package go through apt, which verifies both, into a folder of our own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lists = folder / "lists"
        (lists / "partial").mkdir(parents=True)
        apt = ["apt-get", "-qq", "-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={folder}"]
        apt += ["-o", "APT::Sandbox::User=", "-o", "Debug::NoLocking=1"]
        for command in (
            [*apt, "update"],
            [*apt, "download", "prometheus"],
        ):
            subprocess.run(command, cwd=folder, check=True)
        (package,) = folder.glob("prometheus_*.deb")
        subprocess.run(["dpkg-deb", "--extract", package, folder / "x"], check=True)
        _UNPACKED.mkdir(parents=True, exist_ok=True)
        for program_name in _PROGRAMS:
            shutil.move(folder / "x" / "usr" / "bin" / program_name, _UNPACKED / program_name)


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    address: str
    every_s: int

    def query(self, expression: str) -> list[dict]:
        """The series of an instant query now; ValueError with Prometheus' words for one it does not understand."""
        return self._get("query", query=expression)

    def query_range(self, expression: str, start: float, end: float, step_s: float) -> list[dict]:
        """Series of [Unix time, value as text] pairs."""
        return self._get("query_range", query=expression, start=start, end=end, step=step_s)

    def catch_up(self) -> None:
        """Return when what is true now was scraped and the rules were evaluated over it."""
        recorded = "timestamp(fraud:undecided:sum)"
        wanted = time.time() + 2 * self.every_s
        deadline = time.monotonic() + _READY_S
        while not any(float(series["value"][1]) > wanted for series in self.query(recorded)):
            assert time.monotonic() < deadline, f"{recorded} stands still"
            time.sleep(0.5)

    def rules(self) -> list[dict]:
        groups = requests.get(f"{self.address}/api/v1/rules", timeout=10).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def _get(self, what: str, **parameters: object) -> list[dict]:
        answer = requests.get(f"{self.address}/api/v1/{what}", params=parameters, timeout=10).json()
        if answer["status"] != "success":
            raise ValueError(answer["error"])
        return answer["data"]["result"]


@contextmanager
def scraping(targets: Mapping[str, str], folder: Path, every_s: int = 5) -> Iterator[Prometheus]:
    """The project's prometheus.yml and rules, with other targets (host:port by scrape job) and a quicker clock."""
    configuration = yaml.safe_load((CONFIGURATION / "prometheus.yml").read_text())
    port = free_ports(1)[0]
    configuration["global"] = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), f"{every_s}s")
    configuration["rule_files"] = [str(CONFIGURATION / pattern) for pattern in configuration["rule_files"]]
    for job in configuration["scrape_configs"]:
        address = {"prometheus": f"127.0.0.1:{port}", **targets}[job["job_name"]]
        job["static_configs"] = [{"targets": [address]}]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration))
    arguments = [f"--config.file={file}", f"--storage.tsdb.path={folder / 'prometheus'}"]
    arguments.append(f"--web.listen-address=127.0.0.1:{port}")
    with (folder / "prometheus.log").open("w") as log:
        server = subprocess.Popen([program("prometheus"), *arguments], stdout=log, stderr=log)
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_until_ready(address, folder / "prometheus.log")
            yield Prometheus(address, every_s)
        finally:
            server.terminate()
            server.wait(timeout=30)


def _wait_until_ready(address: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_S
    while True:
        try:
            if requests.get(f"{address}/-/ready", timeout=2).ok:
                return
        except requests.ConnectionError:
            pass
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
