"""Runs services under supervisord: its configuration, its start and end, and the few calls the stack makes to it."""

import os
import shlex
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fraud_io.errors import OperatorError
from fraud_io.folders import ROOT
from fraud_stack.paths import log_file, run_folder, socket_file
from fraud_stack.services.table import Service

_STARTED_S = 10  # a service that exits sooner than this after its start has failed to start
# The streaming job exits with it when a person must act: a restart would change nothing.
_MUST_ACT = 2
_STARTS = 3  # failed starts before supervisord gives up
_STOP_S = 20  # from SIGTERM to SIGKILL
_DEAD = ("BACKOFF", "FATAL", "EXITED", "UNKNOWN")


@dataclass(frozen=True)
class ProcessState:
    """What supervisord knows about one service. ``state`` is its word (RUNNING, STARTING, STOPPED, BACKOFF …).

    exit_status : of its last end; -1 after a signal.
    """

    name: str
    state: str
    pid: int
    uptime_s: int
    exit_status: int

    @property
    def is_dead(self) -> bool:
        return self.state in _DEAD

    @property
    def is_given_up(self) -> bool:
        """Whether it is not restarted any more: it needs a person, or failed too often."""
        # A killed service is EXITED too, until it is restarted a moment later.
        return self.state == "FATAL" or (self.state == "EXITED" and self.exit_status == _MUST_ACT)


class Supervisor:
    """The supervisord of the stack in ``home``, running or not."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._socket = socket_file(home, "supervisor")
        self._configuration = run_folder(home) / "supervisord.conf"

    def start(self, services: Iterable[Service], environment: Mapping[str, str]) -> None:
        """Start supervisord with nothing running under it yet."""
        self._configuration.write_text(self._render(services))
        self._socket.unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "-c", str(self._configuration)],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the terminal reaches the command that started it, not the services
        )
        while not self.is_running():
            if process.poll() is not None:
                raise OperatorError(f"the supervisor did not start: {process.communicate()[1].decode().strip()}")
            time.sleep(0.05)

    def is_running(self) -> bool:
        try:
            self._call("getState")
        except OSError:
            return False
        return True

    def start_service(self, name: str) -> None:
        self._call("startProcess", name, False)

    def stop_services(self, names: Iterable[str]) -> None:
        """Stop them together and wait until they have ended."""
        names = set(names)
        for process in self.states():
            if process.name in names and process.pid:
                self._call("stopProcess", process.name, False)
        while any(process.pid for process in self.states() if process.name in names):
            time.sleep(0.1)

    def shutdown(self) -> None:
        self._call("shutdown")
        while self.is_running():
            time.sleep(0.05)

    def states(self) -> list[ProcessState]:
        return [
            ProcessState(
                info["name"],
                info["statename"],
                info["pid"],
                max(0, info["now"] - info["start"]),
                info["exitstatus"],
            )
            for info in self._call("getAllProcessInfo")
        ]

    def _call(self, method: str, *arguments):
        """Raises OSError when no supervisord listens, OperatorError when it refuses."""
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(serverurl=f"unix://{self._socket}")
        try:
            server = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
            return getattr(server.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            raise OperatorError(
                f"the supervisor refuses {method} {' '.join(map(str, arguments))}: {fault.faultString}"
            ) from fault
        finally:
            transport.close()

    def _render(self, services: Iterable[Service]) -> str:
        sections = [
            _section("unix_http_server", file=self._socket, chmod="0700"),
            _section(
                "supervisord",
                logfile=log_file(self._home, "supervisor"),
                logfile_maxbytes="1MB",
                logfile_backups=1,
                pidfile=run_folder(self._home) / "supervisord.pid",
            ),
            _section(
                "rpcinterface:supervisor",
                **{"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
            ),
            *(self._program(service) for service in services),
        ]
        return "\n".join(sections).replace("%", "%%")

    def _program(self, service: Service) -> str:
        environment = ",".join(f'{name}="{value}"' for name, value in service.environment.items())
        return _section(
            f"program:{service.name}",
            command=shlex.join(service.command),
            directory=ROOT,
            environment=environment,
            autostart="false",
            autorestart="unexpected",
            exitcodes=_MUST_ACT,
            startsecs=_STARTED_S,
            startretries=_STARTS,
            stopwaitsecs=_STOP_S,
            killasgroup="true",  # SIGTERM goes to the service alone: it ends its own children in order
            redirect_stderr="true",
            stdout_logfile=log_file(self._home, service.name),
            stdout_logfile_maxbytes="10MB",
            stdout_logfile_backups=2,
        )


def _section(name: str, **options: object) -> str:
    return "\n".join([f"[{name}]", *(f"{option}={value}" for option, value in options.items()), ""])
