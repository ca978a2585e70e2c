"""Where a new stream begins to decide, with a real Spark, broker and store: the past is in the histories anyway."""

from collections.abc import Iterator

import orjson
import pytest

from fraud_assets_tests.services import wait_until
from fraud_assets_tests.streaming.job.test_job import System, served, trained_on
from fraud_assets_tests.streaming.parts import payments
from fraud_core.settings import Settings
from fraud_core.timestamps import format_rfc3339_ms
from fraud_core.topics import PREDICTIONS, TRANSACTIONS
from fraud_io.kafka.reader import TopicReader
from fraud_io.stream_start import read_start
from fraud_stack.ledger import take_ledger
from streaming.job.start_rule import decide_start
from streaming.state.checkpoint import Checkpoint

pytestmark = pytest.mark.streaming

STREAM = payments(600, users=20)


@pytest.fixture
def system(tmp_path, valkey, broker) -> Iterator[System]:
    running = System(tmp_path, valkey, broker)
    yield running
    running.close()


def decided(system: System) -> set[tuple[int, int]]:
    found = (orjson.loads(message.value()) for message in system.read(PREDICTIONS.default_name))
    return {(prediction["partition"], prediction["offset"]) for prediction in found}


def test_a_new_stream_reads_the_past_into_histories_and_decides_from_now_on(system, valkey):
    system.send(STREAM[:300])
    system.send_bad()
    before = {at: end for at, (_, end) in TopicReader(system.settings).bounds(TRANSACTIONS.default_name).items()}
    job = system.start_job()
    job.wait_until_ready()
    wait_until(lambda: job.log.read_text().count("are rebuilt") == 2, "the past is not read")
    system.send(STREAM[300:450])
    wait_until(lambda: len(decided(system)) == 150, "the payments since the start are not decided")
    assert all(offset >= before[partition] for partition, offset in decided(system))

    # What was decided there is what a stream from the beginning would have decided, also after a loss and a restart.
    job.kill()
    valkey.client.flushdb()
    job = system.start_job(FRAUD_START_FROM="earliest")
    system.send(STREAM[450:])
    wait_until(lambda: len(decided(system)) == 300, "the payments after the restart are not decided")
    assert job.stop() == 0
    everything = trained_on(system)
    assert len(everything) == 600
    assert served(system).items() <= everything.items()

    start = read_start(system.settings.checkpoint)
    assert (start.rule, start.decided_from) == ("latest", before)
    ledger = take_ledger(system.settings)
    assert ledger.is_balanced
    assert (ledger.produced, ledger.predicted, ledger.before_start) == (300, 300, 303)


def test_the_rule_says_where_a_new_checkpoint_begins_and_an_old_one_keeps_it(system, tmp_path):
    system.send(STREAM[:100])
    reader = TopicReader(system.settings)
    bounds = reader.bounds(TRANSACTIONS.default_name)
    newest_ms = max(message.timestamp()[1] for message in reader.read(TRANSACTIONS.default_name))
    system.send(STREAM[100:200])
    after = {at: end for at, (_, end) in bounds.items()}
    ends = {at: end for at, (_, end) in reader.bounds(TRANSACTIONS.default_name).items()}
    begins = dict.fromkeys(bounds, 0)

    def start(folder: str, rule: str, **own: str):
        found = Settings(**system.settings.model_dump(exclude={"start_from"}), start_from=rule, **own)
        return decide_start(Checkpoint(tmp_path / folder, TRANSACTIONS.default_name), found)

    assert start("a", "earliest") is None
    assert start("b", "latest").decided_from == ends
    assert start("b", "latest").histories_from == begins
    assert start("b", "earliest").decided_from == ends
    assert start("c", "1990-01-01T00:00:00Z").decided_from == begins
    assert start("d", "2999-01-01T00:00:00Z").decided_from == ends
    since = start("e", format_rfc3339_ms(newest_ms + 1)).decided_from
    assert all(after[at] <= since[at] <= ends[at] for at in ends)


def test_a_rule_that_is_none_is_refused():
    for rule in ("", "now", "2026-01-31", "2026-01-31T00:00:00", "-1"):
        with pytest.raises(ValueError, match="latest, earliest or a time"):
            Settings(start_from=rule)
    assert Settings(start_from="2026-01-31T00:00:00Z").start_from
