"""A partition of which nearly everything is refused is held when the operator has asked for it."""

from datetime import UTC, datetime

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_assets_tests.streaming.job.test_micro_batch import Machine
from fraud_assets_tests.streaming.parts import messages, payments, records
from fraud_core.payments.reader import ReadingRules
from fraud_core.topics import DEAD_LETTER, PREDICTIONS
from fraud_io.errors import OperatorError
from streaming.job.refusal_limit import LEAST, check_refusals
from streaming.job.scorer import SCHEMA

pytestmark = pytest.mark.streaming

STREAM = payments(2 * LEAST, users=3, partitions=1)
GOOD = messages(STREAM)
NO_ZONE = [value.replace(b"Z", b"") for value in GOOD]
RULES = ReadingRules(0)


def of_partitions(counts: dict[int, tuple[int, int]]) -> pa.Table:
    """Of each partition so many good and bad records, in any order."""
    rows = [
        (None, value, partition, offset, datetime(2026, 2, 1, tzinfo=UTC))
        for partition, (good, bad) in counts.items()
        for offset, value in enumerate([b"{"] * bad + GOOD[:good])
    ]
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows[::-1]], schema=SCHEMA)


@given(
    st.dictionaries(st.integers(0, 3), st.tuples(st.integers(0, 2 * LEAST), st.integers(0, 2 * LEAST)), min_size=1),
    st.floats(0, 1, exclude_max=True),
)
def test_a_partition_is_held_when_enough_records_came_and_more_than_the_limit_is_refused(counts, limit):
    held = [at for at, (good, bad) in sorted(counts.items()) if good + bad >= LEAST and bad / (good + bad) > limit]
    if not held:
        check_refusals(of_partitions(counts), RULES, limit, "payments")
        return
    with pytest.raises(OperatorError, match=f"partition {held[0]} .*not JSON: {counts[held[0]][1]:,}"):
        check_refusals(of_partitions(counts), RULES, limit, "payments")


@pytest.fixture
def machine(tmp_path, valkey) -> Machine:
    machine = Machine(tmp_path, valkey)
    machine.settings = machine.settings.model_copy(update={"refusal_limit": 0.5})
    return machine


def score(machine: Machine, batches, batch_id: int, values: list[bytes]) -> None:
    """Micro-batches of 100 records."""
    begin = 100 * batch_id
    machine.spark.plan(batch_id, {0: begin + 100})
    batches.score(records(STREAM[begin : begin + 100], values[begin : begin + 100]), batch_id)
    machine.spark.commit(batch_id)


def topics(sink) -> set[str]:
    return {topic for topic, *_ in sink.sent}


def test_nothing_of_a_held_micro_batch_is_written_and_a_cure_decides_it(machine):
    batches, sink = machine.start_job()
    score(machine, batches, 0, GOOD)
    sink.sent.clear()
    for _ in range(2):
        with pytest.raises(OperatorError, match=r"held at offset 100: .*timestamp: 100"):
            score(machine, batches, 1, NO_ZONE)
        assert sink.sent == []
        batches, sink = machine.start_job()

    machine.settings = machine.settings.model_copy(update={"time_zone": "UTC"})
    batches, sink = machine.start_job()
    sink.crash_in = "flush"
    with pytest.raises(KeyboardInterrupt):
        score(machine, batches, 1, NO_ZONE)
    before = sink.sent
    assert topics(sink) == {PREDICTIONS.default_name} and len(before) == 100

    # Now it was begun: whatever the settings say, it is decided as it was.
    machine.settings = machine.settings.model_copy(update={"time_zone": None})
    batches, sink = machine.start_job()
    score(machine, batches, 1, NO_ZONE)
    assert sink.sent == before


def test_without_the_limit_the_held_records_become_dead_letters(machine):
    batches, sink = machine.start_job()
    with pytest.raises(OperatorError):
        score(machine, batches, 0, NO_ZONE)
    machine.settings = machine.settings.model_copy(update={"refusal_limit": None})
    batches, sink = machine.start_job()
    score(machine, batches, 0, NO_ZONE)
    assert topics(sink) == {DEAD_LETTER.default_name}
    assert {orjson.loads(value)["kind"] for *_, value in sink.sent} == {"timestamp"}


def test_the_plan_does_not_depend_on_the_limit(machine):
    plans = []
    for limit in (0.5, 0.9, None):
        machine.settings = machine.settings.model_copy(update={"refusal_limit": limit})
        batches, _ = machine.start_job()
        if not plans:
            score(machine, batches, 0, GOOD)
        plans.append({file.name: file.read_bytes() for file in (machine.settings.checkpoint / "plans").glob("*")})
    assert plans[0] == plans[1] == plans[2] and plans[0]
