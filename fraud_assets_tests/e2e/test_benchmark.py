"""The benchmark runs and every figure it promises is there. How large one is depends on the machine."""

from itertools import islice

import orjson
import pytest

from benchmarks.overload.__main__ import repeated
from benchmarks.streaming.floor import floor_us
from benchmarks.streaming.inputs import Inputs
from benchmarks.streaming.measure import Options, measure
from benchmarks.streaming.report import table
from benchmarks.streaming.scene import embedded

pytestmark = pytest.mark.e2e


def test_a_tiny_run_of_the_plain_loop_and_the_floor_gives_every_figure(tmp_path):
    inputs = Inputs(customers=1_000)
    trained = tmp_path / "inputs"
    trained.mkdir()
    inputs.train(trained)
    measured = measure("plain", inputs, trained, Options((200,), 1.0, 1.0, 2_000), lambda _: None)
    latency = measured.latency_ms["200"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"] <= latency["max"]
    assert measured.backlog_per_s > 0
    assert set(measured.cores) == {"200", "backlog"}
    assert measured.memory_mib > 0
    with embedded(trained, ("store",)) as settings:
        floor = floor_us(settings, inputs.history, batch=1_000)
    assert set(floor) == {"decode", "features", "store", "predict", "anomaly", "explain", "encode", "total"}
    assert all(us > 0 for us in floor.values())
    assert "backlog, transactions/s" in table({"plain": measured}, floor)


def test_a_flood_sends_no_transaction_twice_and_its_days_go_on():
    history = Inputs(customers=50).history
    sent = [orjson.loads(value) for _, value in islice(repeated(history), 2 * len(history))]
    assert len({transaction["transaction_id"] for transaction in sent}) == len(sent)
    dates = [transaction["timestamp"][:10] for transaction in sent]
    assert dates == sorted(dates)
    assert len(set(dates)) == 40
    assert orjson.loads(history[0][1])["amount"] == sent[0]["amount"] == sent[len(history)]["amount"]
