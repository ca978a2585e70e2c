"""The secrets of a deployment: ``.env.example`` holds placeholders for them, ``.env`` the real ones."""

import secrets
from collections.abc import Mapping
from pathlib import Path

from fraud_io.errors import OperatorError
from fraud_io.folders import ROOT

EXAMPLE = ROOT / ".env.example"
DEVELOPMENT = "dev"

_PLACEHOLDER = "change-me"
_ENVIRONMENT = "FRAUD_ENVIRONMENT"
_RANDOM_BYTES = 24


def names(example: str) -> list[str]:
    """Variables that hold a secret: those with a placeholder in the text of ``.env.example``."""
    return [line.partition("=")[0] for line in example.splitlines() if line.partition("=")[2].startswith(_PLACEHOLDER)]


def filled(example: str) -> str:
    """The example with a random secret for each placeholder, and FRAUD_ENVIRONMENT=production."""
    secret = set(names(example))
    lines = []
    for line in example.splitlines():
        name = line.partition("=")[0]
        if name in secret:
            line = f"{name}={secrets.token_hex(_RANDOM_BYTES)}"
        elif name == _ENVIRONMENT:
            line = f"{name}=production"
        lines.append(line)
    return "\n".join(lines) + "\n"


def write(path: Path) -> None:
    """Write a ``.env`` that only its owner can read. Raises OperatorError when there is one."""
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        raise OperatorError(
            f"{path} exists, and databases made with its passwords would not open with others: remove it first if "
            "it holds nothing of worth"
        ) from None
    path.write_text(filled(EXAMPLE.read_text()))


def check(environment: Mapping[str, str]) -> None:
    """Raises OperatorError when a secret is missing, or is a placeholder outside development."""
    values = {name: environment.get(name, "") for name in names(EXAMPLE.read_text())}
    missing = [name for name, value in values.items() if not value]
    if missing:
        raise OperatorError(
            f"{', '.join(missing)} not set: call ./run secrets, or copy .env.example to .env to try it out"
        )
    if environment.get(_ENVIRONMENT) == DEVELOPMENT:
        return
    placeholders = [name for name, value in values.items() if value.startswith(_PLACEHOLDER)]
    if placeholders:
        raise OperatorError(
            f"{', '.join(placeholders)} still hold the placeholders of .env.example: remove .env and call "
            f"./run secrets, or set {_ENVIRONMENT}={DEVELOPMENT} to try it out"
        )
