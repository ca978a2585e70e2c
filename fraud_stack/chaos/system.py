"""The system under test: an embedded stack in a folder and on ports of its own, and what faults can do to it."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import cast

import psutil

from fraud_core.settings import Settings
from fraud_io.errors import OperatorError
from fraud_io.folders import ROOT
from fraud_stack.chaos.answers import Answers
from fraud_stack.chaos.load import Load
from fraud_stack.paths import log_file
from fraud_stack.services.ports import PORTS, free_ports
from fraud_stack.services.processes import command_line, memory_mib, with_children
from fraud_stack.services.supervisor import ProcessState, Supervisor

SERVICES = ("kafka", "store", "mlflow", "stream")
_CHECKPOINT_DISK = "16m"
_PATIENCE_S = 120.0


class NotPossibleError(Exception):
    """A fault cannot be injected here; the message says why. It is reported as skipped, never as survived."""


def take_environment(home: Path) -> Settings:
    """Point this process, and all it starts, at a stack of its own in ``home``; the caller's settings are ignored."""
    for name in [name for name in os.environ if name.startswith("FRAUD_")]:
        del os.environ[name]
    ports = zip(PORTS, free_ports(len(PORTS)), strict=True)
    os.environ |= {f"FRAUD_{name.upper()}_PORT": str(port) for name, port in ports}
    os.environ |= {"FRAUD_HOME": str(home), "FRAUD_FAILPOINTS": str(home / "failpoints")}
    return Settings()


@contextmanager
def checkpoint_disk(settings: Settings) -> Iterator[bool]:
    """Put the checkpoint on a small disk of its own, which can then be filled. False where this user may not mount."""
    settings.checkpoint.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_CHECKPOINT_DISK}", "fraud-chaos", str(settings.checkpoint)]
    is_mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(settings.checkpoint)], check=True)


@dataclass
class System:
    """``hold_s``: how long a fault without an end of its own lasts, in seconds."""

    settings: Settings
    load: Load
    answers: Answers
    hold_s: float
    has_checkpoint_disk: bool

    def __post_init__(self) -> None:
        self.champion: str | None = None  # version of the model in Production
        self.truncated: Path | None = None  # the file of the checkpoint that was
        self.seen_of_log = 0  # how much of the job's had been written when a fault struck
        self.notes: dict[str, dict] = {}  # what a fault has to report, by its name
        self.supervisor = Supervisor(self.settings.home.absolute())

    def signal(self, service: str, number: Signals) -> None:
        """Send a signal to the service's process alone."""
        os.kill(self.pid(service), number)

    def signal_all(self, service: str, number: Signals) -> None:
        """Send a signal to the service's process and all its children."""
        for process in with_children(self.pid(service)):
            process.send_signal(number)

    def children(self, service: str, word: str) -> list[psutil.Process]:
        """Processes that a service started, by a part of their command line."""
        return [process for process in with_children(self.pid(service))[1:] if word in " ".join(command_line(process))]

    def stop(self, service: str) -> None:
        self.supervisor.stop_services([service])

    def start(self, service: str) -> None:
        self.supervisor.start_service(service)

    def pid(self, service: str) -> int:
        """Waits for a service that is being restarted."""
        self.wait_until(lambda: self._state(service).pid > 0, f"{service} is not started again")
        return self._state(service).pid

    def is_given_up(self, service: str) -> bool:
        return self._state(service).is_given_up

    def log(self, service: str) -> str:
        return log_file(self.settings.home, service).read_text(errors="replace")

    def memory_mib(self, service: str) -> float:
        return memory_mib(with_children(self._state(service).pid))

    def wipe(self, service: str) -> None:
        shutil.rmtree(self.settings.home / service)
        (self.settings.home / service).mkdir()

    def arm(self, failpoint: str) -> Path:
        folder = cast(Path, self.settings.failpoints)  # a system under chaos has one
        folder.mkdir(exist_ok=True)
        file = folder / failpoint
        file.touch()
        return file

    def promote_a_model(self, seed: int) -> None:
        self.champion = self.module("fraud_assets.commands.bootstrap_model", "--seed", seed).split()[-1]

    def module(self, *arguments: object) -> str:
        """What ``python -m`` with these arguments prints. Raises OperatorError when it fails."""
        command = [sys.executable, "-m", *map(str, arguments)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_PATIENCE_S)
        if done.returncode:
            raise OperatorError(f"{' '.join(command[1:])} failed: {(done.stderr or done.stdout).strip()[-500:]}")
        return done.stdout

    def wait_until(self, holds: Callable[[], bool], problem: str) -> None:
        """Raises OperatorError with ``problem`` when it does not become true."""
        deadline = time.monotonic() + _PATIENCE_S
        while not holds():
            if time.monotonic() > deadline:
                raise OperatorError(f"{problem} within {_PATIENCE_S:.0f} s")
            time.sleep(0.05)

    def _state(self, service: str) -> ProcessState:
        return next(state for state in self.supervisor.states() if state.name == service)
