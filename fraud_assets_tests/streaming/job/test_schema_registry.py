"""Micro-batches of messages in a schema registry's wire format, with a real registry that knows, learns and is down."""

import json
import struct
import threading

import orjson
import pytest

from fraud_assets_tests.apicurio import Apicurio
from fraud_assets_tests.services import wait_until
from fraud_assets_tests.streaming.job.test_micro_batch import STREAM, Machine
from fraud_assets_tests.streaming.parts import messages, records
from fraud_core.topics import DEAD_LETTER, PREDICTIONS
from fraud_io.errors import OperatorError
from fraud_io.schema_registry.predictions import as_json
from streaming.errors import StoppedError

pytestmark = pytest.mark.streaming

SCHEMA = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Payment", "type": "object"}


@pytest.fixture
def machine(tmp_path, valkey, registry: Apicurio) -> Machine:
    machine = Machine(tmp_path, valkey)
    machine.settings = machine.settings.model_copy(update={"schema_registry_url": registry.url})
    return machine


def register(registry: Apicurio, title: str) -> int:
    return registry.register(title, json.dumps(SCHEMA | {"title": title}), "JSON")


def score(machine: Machine, batches, batch_id: int, schema_id: int) -> None:
    part = STREAM[10 * batch_id : 10 * batch_id + 10]
    values = [struct.pack(">bI", 0, schema_id) + value for value in messages(part)]
    machine.spark.plan(batch_id, {0: 10 * batch_id + 10})
    batches.score(records(part, values), batch_id)
    machine.spark.commit(batch_id)


def topics(sink) -> list[str]:
    return [topic for topic, *_ in sink.sent]


def test_a_replay_after_a_schema_came_to_the_registry_refuses_what_it_refused(machine, registry):
    schema_id = register(registry, "before") + 1
    batches, sink = machine.start_job()
    sink.crash_in = "flush"
    with pytest.raises(KeyboardInterrupt):
        score(machine, batches, 0, schema_id)
    before = sink.sent
    assert {orjson.loads(value)["kind"] for *_, value in before} == {"unknown schema"}
    assert register(registry, "after") == schema_id

    batches, sink = machine.start_job()
    score(machine, batches, 0, schema_id)
    assert sink.sent == before and topics(sink) == [DEAD_LETTER.default_name] * 10
    score(machine, batches, 1, schema_id)
    assert topics(sink)[10:] == [PREDICTIONS.default_name] * 10


def test_a_replay_while_the_registry_is_down_decides_what_it_decided(machine, running_registry):
    registry = running_registry
    schema_id = register(registry, "known")
    batches, sink = machine.start_job()
    sink.crash_in = "flush"
    with pytest.raises(KeyboardInterrupt):
        score(machine, batches, 0, schema_id)
    before = sink.sent
    assert topics(sink) == [PREDICTIONS.default_name] * 10
    registry.kill()
    try:
        batches, sink = machine.start_job()
        score(machine, batches, 0, schema_id)
        assert sink.sent == before
        score(machine, batches, 1, schema_id)
        assert topics(sink)[10:] == [PREDICTIONS.default_name] * 10
    finally:
        registry.start()


def test_a_registry_that_is_down_is_waited_for(machine, running_registry, caplog):
    registry = running_registry
    registry.kill()
    batches, sink = machine.start_job()
    waiting = threading.Thread(target=score, args=(machine, batches, 0, 2**20))
    try:
        waiting.start()
        wait_until(lambda: "waiting for the schema registry" in caplog.text, "it does not wait")
        assert sink.sent == []
    finally:
        registry.start()
    schema_id = register(registry, "back")
    waiting.join(60)
    assert not waiting.is_alive()
    assert (
        topics(sink) == [DEAD_LETTER.default_name] * 10
    )  # once it could be asked: a registry that was in memory is empty
    score(machine, batches, 1, schema_id)
    assert topics(sink)[10:] == [PREDICTIONS.default_name] * 10


def test_a_stop_ends_the_wait_for_a_registry(machine):
    machine.settings = machine.settings.model_copy(update={"schema_registry_url": "http://127.0.0.1:1"})
    batches, sink = machine.start_job()
    threading.Timer(0.5, machine.stop.set).start()
    with pytest.raises(StoppedError):
        score(machine, batches, 0, 1)
    assert sink.sent == []


def test_a_replay_with_another_registry_is_refused(machine, registry):
    schema_id = register(registry, "of the first")
    batches, sink = machine.start_job()
    sink.crash_in = "flush"
    with pytest.raises(KeyboardInterrupt):
        score(machine, batches, 0, schema_id)
    machine.settings = machine.settings.model_copy(update={"schema_registry_url": None})
    batches, _ = machine.start_job()
    with pytest.raises(OperatorError, match=registry.url):
        score(machine, batches, 0, schema_id)


def test_predictions_in_avro_are_those_in_json_and_a_replay_writes_the_same_bytes(machine, running_registry):
    registry = running_registry
    batches, sink = machine.start_job()
    machine.score(batches, 0)
    in_json = [value for _, _, value in sink.sent]
    assert topics(sink) == [PREDICTIONS.default_name] * 10
    machine.settings = machine.settings.model_copy(update={"prediction_format": "avro"})
    batches, sink = machine.start_job()
    read = as_json(machine.settings)
    sink.crash_in = "flush"
    with pytest.raises(KeyboardInterrupt):
        machine.score(batches, 1)
    before = sink.sent
    assert all(value.startswith(b"\0") for *_, value in before)
    fields = [orjson.loads(read(value)) for *_, value in before]
    assert [list(one) for one in fields] == [list(orjson.loads(value)) for value in in_json]
    assert [one["offset"] for one in fields] == list(range(10, 20))

    machine.settings = machine.settings.model_copy(update={"prediction_format": "json"})
    registry.kill()
    try:
        batches, sink = machine.start_job()
        machine.score(batches, 1)
        assert sink.sent == before
        machine.score(batches, 2)
        assert all(value.startswith(b"{") for _, _, value in sink.sent[10:])
    finally:
        registry.start()


def test_avro_without_a_registry_is_refused(machine):
    unset = {"prediction_format": "avro", "schema_registry_url": None}
    machine.settings = machine.settings.model_copy(update=unset)
    batches, _ = machine.start_job()
    with pytest.raises(OperatorError, match="FRAUD_SCHEMA_REGISTRY_URL"):
        machine.score(batches, 0)
