"""The ports of an embedded stack, and free ones for a stack beside another one."""

import socket

PORTS = ("kafka", "kafka_controller", "store", "mlflow", "dagster", "spark_ui", "metrics", "exporter")
"""Each is the setting ``<name>_port``."""


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nothing listens on right now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
