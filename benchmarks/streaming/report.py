"""The figures side by side, as text."""

from collections.abc import Iterable

from benchmarks.streaming.measure import PERCENTILES, Measured


def table(results: dict[str, Measured], floor: dict[str, float]) -> str:
    """A column a contender; a dash where it did not answer everything in time."""
    some = next(iter(results.values()))
    lines = [_line("", results)]
    for rate in some.latency_ms:
        for name in PERCENTILES:
            of_each = [measured.latency_ms[rate] for measured in results.values()]
            cells = (f"{latency[name]:,.0f}" if latency else "-" for latency in of_each)
            lines.append(_line(f"latency at {rate}/s, {name}, ms", cells))
    lines += [_line(f"cores, {load}", (f"{one.cores[load]:.2f}" for one in results.values())) for load in some.cores]
    lines.append(_line("memory, MiB", (str(measured.memory_mib) for measured in results.values())))
    backlogs = [measured.backlog_per_s for measured in results.values()]
    lines.append(_line("backlog, transactions/s", (f"{per_s:,.0f}" if per_s else "-" for per_s in backlogs)))
    steps = ", ".join(f"{step} {us}" for step, us in floor.items())
    return "\n".join([*lines, f"floor on one core, us a transaction: {steps}"])


def _line(title: str, cells: Iterable[str]) -> str:
    return f"{title:32}" + "".join(f"{cell:>12}" for cell in cells)
