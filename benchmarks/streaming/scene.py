"""One contender at a time on a fresh broker and an empty store, on free ports, in a folder of its own."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from benchmarks.streaming.inputs import CHALLENGER, CHAMPION
from fraud_core.settings import EARLIEST, Settings
from fraud_io.folders import ROOT
from fraud_stack.services.java import java_home
from fraud_stack.services.ports import PORTS, free_ports
from fraud_stack.services.processes import mark, memory_mib, with_children
from fraud_stack.services.stack import Stack
from streaming.job.batch_plan import PLANS, BatchPlan, PlanLog

Contender = Literal["job", "plain", "usual"]

# How each contender is started. All answer every record of `transactions` with one of `fraud_predictions`.
CONTENDERS: dict[Contender, str] = {
    "job": "streaming.job",
    "plain": "benchmarks.streaming.plain",
    "usual": "benchmarks.streaming.usual",
}

_TIMEOUT_S = 30.0


@dataclass
class Scene:
    """``memory_mib``: the most the contender was seen to take; broker, store and load do not count."""

    settings: Settings
    process: subprocess.Popen
    memory_mib: float = 0.0

    def cpu_s(self) -> float:
        """Processor seconds of the contender so far, its child processes included."""
        used = 0.0
        for process in with_children(self.process.pid):
            # A worker may end meanwhile; its parent then has its seconds.
            with suppress(psutil.NoSuchProcess):
                used += sum(process.cpu_times()[:4])
        return used

    def look_at_memory(self) -> None:
        self.memory_mib = max(self.memory_mib, memory_mib(with_children(self.process.pid)))

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The contender stands still: a backlog can gather without competing for the cores."""
        processes = with_children(self.process.pid)
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                process.send_signal(signal.SIGCONT)

    def check_alive(self) -> None:
        if self.process.poll() is not None:
            log = (self.settings.home / "contender.log").read_text(errors="replace").splitlines()
            raise RuntimeError("\n".join(["the contender ended:", *log[-20:]]))


@contextmanager
def scene(contender: Contender, inputs: Path, folder: Path, own: Mapping[str, str] | None = None) -> Iterator[Scene]:
    """Start broker, store and ``contender``; stop everything at the end. It may not be ready yet when this yields.

    own : environment variables for the contender alone.
    """
    home = folder / contender
    shutil.copytree(inputs, home)
    with embedded(home, ("kafka", "store")) as settings:
        if contender == "job":
            # The job serves the models of its last plan until a registry answers.
            PlanLog(settings.checkpoint / PLANS).write(0, BatchPlan(CHAMPION, CHALLENGER))
        with (home / "contender.log").open("w") as log:
            command = [sys.executable, "-m", CONTENDERS[contender]]
            process = subprocess.Popen(
                command, env=_environment(settings) | (own or {}), cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
            )
        yield Scene(settings, process)
        process.terminate()
        process.wait(_TIMEOUT_S)


@contextmanager
def second_job(first: Scene, inputs: Path, home: Path, own: Mapping[str, str]) -> Iterator[Scene]:
    """Another job on the first one's broker and store, with a home and ports of its own. own : as for ``scene``."""
    shutil.copytree(inputs, home)
    spark_ui, metrics = free_ports(2)
    settings = first.settings.model_copy(update={"home": home, "spark_ui_port": spark_ui, "metrics_port": metrics})
    PlanLog(settings.checkpoint / PLANS).write(0, BatchPlan(CHAMPION, CHALLENGER))
    with (home / "contender.log").open("w") as log:
        command = [sys.executable, "-m", CONTENDERS["job"]]
        environment = _environment(settings) | own
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield Scene(settings, process)
    finally:
        process.terminate()
        process.wait(_TIMEOUT_S)


@contextmanager
def embedded(home: Path, services: tuple[str, ...]) -> Iterator[Settings]:
    """Embedded services on free ports. What was started with the stack's mark ends with them."""
    ports = {f"{name}_port": port for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True)}
    settings = Settings(home=home, start_from=EARLIEST, **ports)
    stack = Stack(settings, show=lambda _: None)
    with stack.lock():
        stack.up(services)
        try:
            yield settings
        finally:
            stack.down()


def _environment(settings: Settings) -> dict[str, str]:
    java = java_home()
    own = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")}
    path = os.pathsep.join([str(java / "bin"), os.environ.get("PATH", "")])
    mine = {"JAVA_HOME": str(java), "PATH": path, "PYTHONPATH": str(ROOT)}
    return own | settings.environment() | mine | mark(settings.home)
