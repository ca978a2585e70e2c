"""The state of a running streaming job, from its Prometheus endpoint."""

import time

import requests
from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_S = 2.0


def stream_lines(address: str) -> list[str]:
    """Lag, latency, model and last micro-batch for a reader; none when the job does not answer at ``address``."""
    try:
        answer = requests.get(address, timeout=_TIMEOUT_S)
        answer.raise_for_status()
    except requests.RequestException:
        return []
    return describe(answer.text, time.time())


def describe(text: str, now: float) -> list[str]:
    """``text``: the endpoint's answer. ``now``: Unix time."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    value = {sample.name: sample.value for sample in samples if not sample.labels}
    lag = {s.labels["partition"]: int(s.value) for s in samples if s.name == "fraud_stream_lag"}
    until = {s.labels["role"]: s.value for s in samples if s.name == "fraud_stream_model_trained_until_seconds"}
    models = [s.labels for s in samples if s.name == "fraud_stream_model" and s.value]
    named = ", ".join(f"{m['role']} {m['version']} (trained until {_day(until[m['role']])})" for m in models)
    buckets = [(float(s.labels["le"]), s.value) for s in samples if s.name == "fraud_stream_latency_seconds_bucket"]
    by_partition = ", ".join(f"{partition}: {count:,}" for partition, count in sorted(lag.items()))
    registry = "" if value["fraud_stream_registry_up"] else "; the registry does not answer, the last good ones serve"
    refused = [s.labels for s in samples if s.name == "fraud_stream_refused_model" and s.value]
    alarms = [
        f"ALARM       the registry names version {m['version']} as {m['role']}; it is refused and the last good one "
        "stays: ./run logs stream says why"
        for m in refused
    ]
    last = value["fraud_stream_last_batch_time_seconds"]
    batch = f"{value['fraud_stream_last_batch_id']:.0f}, {now - last:.0f} s ago" if last else "none yet"
    return [
        f"lag         {sum(lag.values()):,} records{f' ({by_partition})' if lag else ''}",
        f"latency     {value['fraud_stream_last_batch_latency_seconds'] * 1000:.0f} ms median of the last batch; since "
        f"the start p50 {_at_most(buckets, 0.5)}, p95 {_at_most(buckets, 0.95)}, p99 {_at_most(buckets, 0.99)}",
        f"model       {named or ('none yet: scores are null' if last else 'nothing decided yet')}{registry}",
        f"last batch  {batch}",
        *alarms,
    ]


def _at_most(buckets: list[tuple[float, float]], share: float) -> str:
    """The bound of the histogram's bucket that a quantile lies in."""
    count = buckets[-1][1]
    if count == 0:
        return "-"
    bound = next(bound for bound, below in buckets if below >= share * count)
    return f"> {buckets[-2][0]:g} s" if bound == float("inf") else f"<= {bound * 1000:g} ms"


def _day(unix_time: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(unix_time))
