"""What ./run status says of a job, from the job's own metrics."""

import numpy as np
import pytest
from prometheus_client import generate_latest

from fraud_stack.stream_status import describe
from streaming import metrics

pytestmark = pytest.mark.streaming


def test_status_reads_what_the_job_exposes():
    metrics.LAG.clear()
    metrics.MODEL.clear()
    metrics.LAG.labels(0).set(1200)
    metrics.LAG.labels(1).set(3)
    metrics.MODEL.labels("champion", "4").set(1)
    metrics.MODEL_TRAINED_UNTIL.labels("champion").set(1_767_225_600)
    metrics.REGISTRY_UP.set(0)
    metrics.LAST_BATCH.set(17)
    metrics.LAST_BATCH_TIME.set(1000.0)
    metrics.LAST_LATENCY.set(0.085)
    metrics.LATENCY._counts[:] = 0
    metrics.LATENCY.observe(np.array([0.06] * 90 + [0.12] * 9 + [400.0]))
    lag, latency, model, batch = describe(generate_latest().decode(), 1005.0)
    assert lag == "lag         1,203 records (0: 1,200, 1: 3)"
    assert latency.endswith(
        "85 ms median of the last batch; since the start p50 <= 75 ms, p95 <= 150 ms, p99 <= 150 ms"
    )
    assert "champion 4 (trained until 2026-01-01); the registry does not answer" in model
    assert batch == "last batch  17, 5 s ago"
