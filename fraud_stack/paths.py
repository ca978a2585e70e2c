"""The files of one running stack."""

import hashlib
import tempfile
from pathlib import Path

_LONGEST_SOCKET_PATH = 90  # the kernel's limit is 104 bytes (macOS), 108 (Linux); a few are left for temporary names


def run_folder(home: Path) -> Path:
    """Generated configuration, process ids and the lock of the stack in ``home``."""
    return home / "run"


def log_file(home: Path, service: str) -> Path:
    return home / "logs" / f"{service}.log"


def socket_file(home: Path, name: str) -> Path:
    """A Unix socket of the stack in ``home``: under the temporary folder where the path would be too long for one."""
    path = run_folder(home) / f"{name}.sock"
    if len(str(path)) <= _LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(str(home).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"fraud-{digest}-{name}.sock"
