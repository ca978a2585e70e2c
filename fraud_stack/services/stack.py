"""Brings the embedded services up and down as one: what is checked first, in which order, what happens on failure."""

import errno
import fcntl
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fraud_core.settings import Settings
from fraud_io.errors import OperatorError
from fraud_io.folders import ROOT
from fraud_stack.paths import log_file, run_folder
from fraud_stack.services import jars
from fraud_stack.services.dagster_home import write_dagster_configuration
from fraud_stack.services.java import java_home
from fraud_stack.services.kafka import create_topics, write_broker_configuration
from fraud_stack.services.processes import end_stack_processes, mark, memory_mib, with_children
from fraud_stack.services.supervisor import Supervisor
from fraud_stack.services.table import Service, embedded_services, external_services

_READY_TIMEOUT_S = 240
_NEEDED_MIB = 2_000  # an hour of the demo's stream, its history twice (Kafka and Parquet) and room to spare
_LOG_LINES = 20


@dataclass(frozen=True)
class ServiceStatus:
    """One line of ``status``. ``state`` is ready, starting, not answering, stopped, failed or external."""

    name: str
    state: str
    address: str
    pid: int = 0
    uptime_s: int = 0
    memory_mib: float = 0.0

    @property
    def is_up(self) -> bool:
        return self.state in ("ready", "external")


class Stack:
    """The services whose state is in ``settings.home``."""

    def __init__(self, settings: Settings, show: Callable[[str], None] = print) -> None:
        self.settings = settings
        self.home = settings.home.absolute()
        self._show = show
        self._supervisor = Supervisor(self.home)
        self._pids: dict[str, int] = {}

    def is_running(self) -> bool:
        return self._supervisor.is_running()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held by a command that starts or stops services. Raises OperatorError when another command holds it."""
        self._make_folders()
        with (run_folder(self.home) / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OperatorError(
                    f"another command is starting or stopping the stack in {self.home}: wait for it to end, or set "
                    "FRAUD_HOME to another folder"
                ) from None
            yield

    def up(self, names: Sequence[str] = ()) -> None:
        """Start the services (all, or those named) and return when each of them answers.

        Raises OperatorError, with everything stopped again, when one of them ends or does not answer in time.
        """
        if self.is_running():
            raise OperatorError(f"the stack in {self.home} is already up: see ./run status, or stop it with ./run down")
        self._check_disk()
        jars.fetch(self._show)
        self._make_folders()
        services = self._choose(names)
        end_stack_processes(self.home)  # of a supervisor that was killed
        self._check_ports(services)
        write_broker_configuration(self.settings)
        write_dagster_configuration(self.settings)
        if "kafka" in external_services(self.settings):
            create_topics(self.settings)
        try:
            self._supervisor.start(services, self._environment())
            self._start(services)
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """Stop everything; state stays. Services that others need are stopped last. Ctrl-C does not interrupt it."""
        with _uninterrupted():
            self._stop()

    def _stop(self) -> None:
        if self._supervisor.is_running():
            names = [process.name for process in self._supervisor.states()]
            last = {"kafka", "store", "mlflow"}
            self._supervisor.stop_services(set(names) - last)
            self._supervisor.stop_services(last)
            self._supervisor.shutdown()
        end_stack_processes(self.home)

    def status(self) -> list[ServiceStatus]:
        """Every service, those that run elsewhere too. Empty when nothing runs here."""
        if not self.is_running():
            return []
        states = {process.name: process for process in self._supervisor.states()}
        rows = [ServiceStatus(name, "external", address) for name, address in external_services(self.settings).items()]
        for service in embedded_services(self.settings):
            process = states.get(service.name)
            if process is None:
                continue
            if process.is_dead:
                state = "failed"
            elif not process.pid:
                state = "stopped"
            else:
                state = "ready" if service.is_ready() else "not answering"
            memory = memory_mib(with_children(process.pid)) if process.pid else 0.0
            uptime_s = process.uptime_s if process.pid else 0
            rows.append(ServiceStatus(service.name, state, service.address, process.pid, uptime_s, memory))
        return rows

    def check_alive(self) -> None:
        """Raises OperatorError with the last lines of its log when a service ended since it was started."""
        for process in self._supervisor.states():
            if process.name in self._pids and (process.is_dead or process.pid != self._pids[process.name]):
                raise OperatorError(f"{process.name} died. {self._log_tail(process.name)}")

    def _start(self, services: Sequence[Service]) -> None:
        began = time.monotonic()
        names = {service.name for service in services}
        waiting, ready = list(services), set[str]()
        starting: list[Service] = []
        while waiting or starting:
            for service in [service for service in waiting if ready >= names.intersection(service.after)]:
                self._supervisor.start_service(service.name)
                waiting.remove(service)
                starting.append(service)
            for process in self._supervisor.states():
                if process.pid:
                    self._pids.setdefault(process.name, process.pid)
            self.check_alive()
            for service in [service for service in starting if service.is_ready()]:
                service.on_ready()
                starting.remove(service)
                ready.add(service.name)
                self._show(f"  {service.name:15} ready after {time.monotonic() - began:5.1f} s   {service.address}")
            if time.monotonic() - began > _READY_TIMEOUT_S:
                name = starting[0].name
                raise OperatorError(f"{name} does not answer after {_READY_TIMEOUT_S} s. {self._log_tail(name)}")
            time.sleep(0.2)

    def _choose(self, names: Sequence[str]) -> list[Service]:
        services = embedded_services(self.settings)
        known = [service.name for service in services]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise OperatorError(f"no service is called {unknown[0]}: there are {', '.join(known)}")
        return [service for service in services if not names or service.name in names]

    def _check_disk(self) -> None:
        folder = next(folder for folder in (self.home, *self.home.parents) if folder.exists())
        free_mib = shutil.disk_usage(folder).free // 2**20
        if free_mib < _NEEDED_MIB:
            raise OperatorError(
                f"{free_mib} MiB are free for {self.home}, {_NEEDED_MIB} MiB are needed: free some space, or set "
                "FRAUD_HOME to a folder on another disk"
            )

    def _check_ports(self, services: Sequence[Service]) -> None:
        host = self.settings.host
        ports = {setting: getattr(self.settings, setting) for service in services for setting in service.ports}
        used = [f"port {port} (FRAUD_{name.upper()})" for name, port in ports.items() if not _is_free(host, port)]
        if used:
            raise OperatorError(
                f"{', '.join(used)} in use on {host}: stop what listens there, or set the variable in brackets to "
                "another port"
            )

    def _make_folders(self) -> None:
        for folder in (
            run_folder(self.home),
            log_file(self.home, "any").parent,
            self.home / "store",
            self.home / "mlflow",
        ):
            folder.mkdir(parents=True, exist_ok=True)

    def _environment(self) -> dict[str, str]:
        java = java_home()
        return {
            **mark(self.home),
            **self.settings.environment(),
            "FRAUD_HOME": str(self.home),
            "JAVA_HOME": str(java),
            "PATH": os.pathsep.join([str(java / "bin"), str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "MLFLOW_TRACKING_URI": self.settings.mlflow_address,
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    def _log_tail(self, name: str) -> str:
        lines = log_file(self.home, name).read_text(errors="replace").splitlines()
        return "\n  ".join(["The last lines of its log:", *lines[-_LOG_LINES:]])


@contextmanager
def _uninterrupted() -> Iterator[None]:
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {stop: signal.signal(stop, signal.SIG_IGN) for stop in stops}
    try:
        yield
    finally:
        for stop, handler in before.items():
            signal.signal(stop, handler)


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that is only winding down is free
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise OperatorError(
                f"this machine cannot listen on {host}:{port} ({error.strerror}): check FRAUD_HOST"
            ) from error
    return True
