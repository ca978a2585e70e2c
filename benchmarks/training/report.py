"""The figures of a run of the benchmark, as JSON types and as text."""

from benchmarks.training.usual import CANDIDATES

_QUALITY = ("average_precision", "f2", "claimed_average_precision", "claimed_f2")


def figures_of(measured: dict[str, dict], transactions: int, candidates: int) -> dict:
    """By contender: steps, their sums and the quality. ``cpu_ratio`` is what the usual recipe costs for each second.

    measured : what each contender wrote. candidates : of 20 that the usual search was measured with.
    """
    figures = {"transactions": transactions}
    for name, found in measured.items():
        steps = found.pop("steps")
        if name == "usual":
            steps = [_extrapolated(step, candidates) if step["name"] == "search" else step for step in steps]
            found |= {"candidates_measured": candidates, "is_extrapolated": candidates < CANDIDATES}
        sums = {unit: sum(step[unit] for step in steps) for unit in ("cpu_s", "wall_s")}
        figures[name] = {**sums, "peak_memory_gib": found.pop("peak_bytes") / 2**30, **found, "steps": steps}
    if {"ours", "usual"} <= measured.keys():
        figures["cpu_ratio"] = figures["usual"]["cpu_s"] / figures["ours"]["cpu_s"]
        figures["memory_ratio"] = figures["usual"]["peak_memory_gib"] / figures["ours"]["peak_memory_gib"]
    return figures


def table(figures: dict) -> str:
    lines = [f"{figures['transactions']:,} transactions"]
    for name, found in figures.items():
        if not isinstance(found, dict):
            continue
        lines += ["", f"{name:34} {'CPU s':>8} {'wall s':>8}"]
        lines += [f"  {step['name']:32} {step['cpu_s']:8.1f} {step['wall_s']:8.1f}" for step in found["steps"]]
        lines += [f"  {'all':32} {found['cpu_s']:8.1f} {found['wall_s']:8.1f}"]
        if found.get("is_extrapolated"):
            lines.append(f"  (search: {found['candidates_measured']} of {CANDIDATES} candidates measured, then scaled)")
        lines.append(f"  peak memory {found['peak_memory_gib']:.2f} GiB")
        lines.append("  " + ", ".join(f"{key} {found[key]:.4f}" for key in _QUALITY if key in found))
    if "cpu_ratio" in figures:
        lines += ["", f"The usual recipe costs {figures['cpu_ratio']:.1f} times the processor time of the daily run"]
        lines[-1] += f" and {figures['memory_ratio']:.1f} times its memory."
    return "\n".join(lines)


def _extrapolated(step: dict, candidates: int) -> dict:
    scale = CANDIDATES / candidates
    return step | {unit: step[unit] * scale for unit in ("cpu_s", "wall_s")}
