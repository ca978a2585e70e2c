"""One embedded stack for all end-to-end tests, started the way a newcomer starts it: ./run demo."""

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka import Message

from fraud_assets_tests.e2e.prometheus import Prometheus, scraping
from fraud_core.settings import Settings
from fraud_core.topics import Topic
from fraud_io.kafka.reader import TopicReader
from fraud_stack.services.ports import PORTS, free_ports

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Stack:
    """A running stack in a folder and on ports of its own, the summary its demo wrote, and a Prometheus that scraped
    it all the time. ``began``: Unix time before its first service."""

    settings: Settings
    environment: dict[str, str]
    summary: dict
    prometheus: Prometheus
    began: float

    def run(self, *arguments: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        return run(self.environment, *arguments, timeout_s=timeout_s)

    @contextmanager
    def in_background(self, *arguments: str) -> Iterator[subprocess.Popen]:
        """A command that runs until the block ends."""
        process = subprocess.Popen(
            [ROOT / "run", *arguments], env=self.environment, cwd=ROOT, stdout=subprocess.DEVNULL
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)

    def decides(self, role: str, version: str) -> bool:
        """Whether the last micro-batch was scored with ``version`` in ``role``."""
        metrics = urllib.request.urlopen(f"http://127.0.0.1:{self.settings.metrics_port}/metrics", timeout=10).read()
        return f'fraud_stream_model{{role="{role}",version="{version}"}} 1.0' in metrics.decode()

    def read(self, topic: Topic) -> list[Message]:
        """All records of a topic, partition by partition in offset order."""
        return sorted(
            TopicReader(self.settings).read(topic.default_name),
            key=lambda record: (record.partition(), record.offset()),
        )


def run(environment: dict[str, str], *arguments: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "run", *arguments], env=environment, capture_output=True, text=True, timeout=timeout_s, cwd=ROOT
    )


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    mine = {"FRAUD_HOME": str(home), **{f"FRAUD_{name.upper()}_PORT": str(port) for name, port in ports.items()}}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")} | mine
    # A small history: fewer candidates, shorter validation and test, so that each period still holds frauds.
    environment |= {"FRAUD_SEARCH_CANDIDATES": "4", "FRAUD_TEST_DAYS": "7"}
    # The live part lasts 14 simulated days: decisions of most of them come of age before it ends, whenever in its first
    # half the new model begins to decide.
    environment["FRAUD_LABEL_DELAY_DAYS"] = "4"
    summary = home / "summary.json"
    targets = {"stream": f"127.0.0.1:{ports['metrics']}", "exporter": f"127.0.0.1:{ports['exporter']}"}
    with scraping(targets, home) as prometheus:
        began = time.time()
        demo_words = ("demo", "--transactions", "60000", "--minutes", "0.8", "--rate", "300", "--no-loop", "--keep")
        try:
            demo = run(environment, *demo_words, "--json", str(summary), timeout_s=540)
            assert demo.returncode == 0, demo.stdout[-5000:] + demo.stderr[-5000:]
            prometheus.catch_up()
            settings = Settings(home=home, **{f"{name}_port": port for name, port in ports.items()})
            yield Stack(settings, environment, json.loads(summary.read_text()), prometheus, began)
        finally:
            run(environment, "down")
