"""``./run test``: lint, format, import directions and every test, in the order of how soon they fail."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fraud_io.folders import ROOT
from fraud_stack.services import jars


def run_tests(pytest_arguments: Sequence[str]) -> int:
    """Exit status of the first check that fails, else 0. With arguments only pytest runs, with these."""
    bin_folder = Path(sys.executable).parent
    pytest = [sys.executable, "-m", "pytest", *pytest_arguments]
    checks = [
        [bin_folder / "ruff", "check"],
        [bin_folder / "ruff", "format", "--check"],
        [sys.executable, bin_folder / "lint-imports"],
        pytest,
    ]
    jars.fetch(print)
    for check in [pytest] if pytest_arguments else checks:
        print(f"$ {' '.join(str(word) for word in check)}", flush=True)
        status = subprocess.run(check, cwd=ROOT).returncode
        if status:
            return status
    return 0
