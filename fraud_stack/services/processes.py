"""The processes of one stack, found by a mark in their environment, which child processes inherit."""

import os
import platform
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "FRAUD_STACK"


def mark(home: Path) -> dict[str, str]:
    return {MARK: str(home)}


def stack_processes(home: Path) -> list[psutil.Process]:
    """Every process that carries the mark of the stack in ``home``, orphans too."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == str(home):
                found.append(process)
        except (psutil.Error, OSError):
            continue  # has ended, or belongs to another user
    return found


def end_stack_processes(home: Path, patience_s: float = 5.0) -> list[str]:
    """Terminate, then kill, what is left of the stack. Returns the command lines of those that were left."""
    left = stack_processes(home)
    names = [" ".join(command_line(process)[:6]) for process in left]
    for process in left:
        _signal(process, psutil.Process.terminate)
    _, stubborn = psutil.wait_procs(left, timeout=patience_s)
    for process in stubborn:
        _signal(process, psutil.Process.kill)
    psutil.wait_procs(stubborn, timeout=patience_s)
    return names


def memory_mib(processes: list[psutil.Process]) -> float:
    """Memory of the processes together, in MiB. Linux: proportional set size, so that shared pages count once."""
    return sum(map(_memory_bytes, processes)) / 2**20


def with_children(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _memory_bytes(process: psutil.Process) -> int:
    try:
        return process.memory_full_info().pss if platform.system() == "Linux" else process.memory_info().rss
    except psutil.Error:
        return 0


def command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return ["?"]


def _signal(process: psutil.Process, action) -> None:
    with suppress(psutil.NoSuchProcess):
        action(process)
