"""Whether a service answers. Every probe sends the service one request that a user would send, and takes about a second
at most; it returns False for "not yet" and never raises because of the network."""

import socket
from pathlib import Path

_TIMEOUT_S = 1.5


def http_answers(url: str, expected: str = "") -> bool:
    """GET ``url`` gives a success status and a body with ``expected`` in it."""
    import requests

    try:
        response = requests.get(url, timeout=_TIMEOUT_S)
    except requests.RequestException:
        return False
    return response.ok and expected in response.text


def store_answers(url: str) -> bool:
    import redis

    try:
        with redis.Redis.from_url(url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S) as store:
            return bool(store.ping())
    except redis.RedisError:
        return False


def port_accepts(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_TIMEOUT_S):
            return True
    except OSError:
        return False


def socket_accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_TIMEOUT_S)
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def dagster_is_loaded(address: str) -> bool:
    """The web server answers and its code location is loaded without an error."""
    query = "{workspaceOrError {... on Workspace {locationEntries {locationOrLoadError {__typename}}}}}"
    answer = _graphql(address, query)
    entries = answer.get("workspaceOrError", {}).get("locationEntries", [])
    types = [(entry["locationOrLoadError"] or {}).get("__typename") for entry in entries]
    return bool(types) and all(name == "RepositoryLocation" for name in types)


def dagster_daemons_beat(address: str) -> bool:
    """Every daemon this instance needs has sent a heartbeat lately."""
    query = "{instance {daemonHealth {allDaemonStatuses {required healthy}}}}"
    statuses = _graphql(address, query).get("instance", {}).get("daemonHealth", {}).get("allDaemonStatuses", [])
    return bool(statuses) and all(status["healthy"] for status in statuses if status["required"])


def _graphql(address: str, query: str) -> dict:
    from fraud_io.dagster_client import DagsterClient
    from fraud_io.errors import OperatorError

    try:
        return DagsterClient(address, _TIMEOUT_S).query(query)
    except OperatorError:
        return {}
