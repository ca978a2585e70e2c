"""``./run test``: lint, format, import directions, types and the tests, in the order of how soon they fail."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from fraud_io.folders import ROOT
from fraud_stack.services import jars

# Two processes; which one runs what: fraud_assets_tests/conftest.py. A whole system takes both cores for itself: beside
# other tests it falls behind its load, and its own alerts say so.
_IN_TWO_PROCESSES = ("-n", "2", "--no-loadscope-reorder")
_COVERAGE = ("--cov", "--cov-report", "term:skip-covered")


def run_tests(pytest_arguments: Sequence[str], *, fast: bool = False, coverage: bool = False) -> NoReturn:
    """Ends with the status of the first check that fails. This process becomes the last one, pytest, so that what stops
    it stops the tests. With arguments only pytest runs, with these.

    fast: only the tests that start no service and no stream.
    coverage: print by file which branches the tests take in their own processes; those of processes that they start
        (services, the job) are not counted.
    """
    bin_folder = Path(sys.executable).parent
    checks: list[list[str | Path]]
    pytest = (sys.executable, "-m", "pytest")
    if pytest_arguments:
        checks = [[*pytest, *pytest_arguments]]
    else:
        covered = _COVERAGE if coverage else ()
        systems = [*pytest, "-m", "e2e", *covered, *(("--cov-append",) if coverage else ())]
        parts = "not streaming and not e2e" if fast else "not e2e"
        checks = [
            [bin_folder / "ruff", "check"],
            [bin_folder / "ruff", "format", "--check"],
            [sys.executable, bin_folder / "lint-imports"],
            [sys.executable, "-m", "mypy"],
            [*pytest, *_IN_TWO_PROCESSES, "-m", parts, *covered],
            *([] if fast else [systems]),
        ]
    jars.fetch(print)
    *first, last = ([str(word) for word in check] for check in checks)
    for check in first:
        print(f"$ {' '.join(check)}", flush=True)
        status = subprocess.run(check, cwd=ROOT).returncode
        if status:
            sys.exit(status)
    print(f"$ {' '.join(last)}", flush=True)
    os.chdir(ROOT)
    os.execv(last[0], last)
