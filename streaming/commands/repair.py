"""``python -m streaming.commands.repair``: makes a checkpoint with torn micro-batch files usable again.

How far the stream is does not have to be guessed: every decision names the partition and offset it is about. Let K be
the newest micro-batch whose two files are intact; all before its end is decided. Of what follows,

- records up to the first one that has no decision in the topics are decided: they become a finished micro-batch;
- records from there to the last one that has a decision, or whose history is in the online store, belong to the one
  micro-batch that was running, because a micro-batch begins when the one before is acknowledged. They become a
  micro-batch that was planned and not finished. The job runs it again with the plan in force when it ended
  (batch_plan), which is the plan of the attempt that was cut short: the same bytes.

Nothing is skipped, nothing is decided with anything but what decided it before. The two micro-batches get ids above
all that were used. The broken files are removed last, so that a repair that is interrupted leaves a checkpoint that is
still refused, and can be repaired again.
"""

import json
import logging
import shutil
import sys
import threading
from typing import cast

import orjson
import typer

from fraud_core.settings import Settings
from fraud_core.timestamps import HOUR_MS, now_ms
from fraud_io.files import write_durably
from fraud_io.kafka.reader import TopicReader
from fraud_io.schema_registry.predictions import as_json
from streaming.commands.command_line import run
from streaming.state.checkpoint import Checkpoint
from streaming.state.online_store import OnlineStore

app = typer.Typer(help="Repair a checkpoint that the streaming job refuses because a file is corrupt.")

_NO_METADATA = '{"batchWatermarkMs":0,"batchTimestampMs":0,"conf":{}}'
_COMMITTED = 'v1\n{"nextBatchWatermarkMs":0}'

Offsets = dict[int, int]  # by partition


@app.command()
def repair() -> None:
    """Work out from the topics how far the stream is, and write that into the checkpoint. The job must be stopped."""
    settings = Settings()
    checkpoint = Checkpoint(settings.checkpoint, settings.topics.transactions)
    with checkpoint.locked():
        checkpoint.check_identity()
        broken = checkpoint.broken_files()
        if not broken:
            print(f"the checkpoint {checkpoint.folder} is intact: nothing to repair")
            return
        kept = checkpoint.folder.with_name(f"checkpoint-before-repair-{now_ms()}")
        shutil.copytree(checkpoint.folder, kept)
        store = OnlineStore(settings.store_address, checkpoint.query_id, threading.Event())
        decided, reached = positions(settings, checkpoint, store)
        rewrite(checkpoint, decided, reached)
        for file in broken:
            file.unlink()
    again = sum(reached.values()) - sum(decided.values())
    print(f"{len(broken)} files were corrupt, {broken[-1]} the last of them; a copy of the checkpoint is in {kept}")
    print(
        f"decided up to {decided}; {again} records after that are decided again, with the same bytes, at the next start"
    )


def positions(settings: Settings, checkpoint: Checkpoint, store: OnlineStore) -> tuple[Offsets, Offsets]:
    """Up to where records are decided without a gap, and up to where any trace of a decision reaches."""
    last, since_ms = checkpoint.last_whole_batch(), 0
    begin = checkpoint.beginning()
    if last is not None:
        begin |= checkpoint.end_of(last)
        since_ms = json.loads(_metadata(checkpoint))["batchTimestampMs"] - HOUR_MS  # in case two clocks differ
    reader = TopicReader(settings)
    traces: dict[int, set[int]] = {partition: set() for partition in begin}
    topics, read = settings.topics, as_json(settings)
    for topic in (topics.predictions, topics.dead_letter):
        for message in reader.read(topic, reader.since(topic, since_ms)):
            decision = orjson.loads(read(message.value()))
            if decision["offset"] >= begin.get(decision["partition"], 0):
                traces.setdefault(decision["partition"], set()).add(decision["offset"])
    decided = {
        partition: max(offsets, default=begin.get(partition, 0) - 1) + 1 for partition, offsets in traces.items()
    }
    reached = {partition: max(end, store.position(partition) or 0) for partition, end in decided.items()}
    for message in reader.read(topics.transactions, reader.beyond(topics.transactions, begin)):
        partition, offset = message.partition(), message.offset()
        if offset < decided.get(partition, 0) and offset not in traces[partition]:
            decided[partition] = offset
    return decided, reached


def rewrite(checkpoint: Checkpoint, decided: Offsets, reached: Offsets) -> None:
    """A finished micro-batch that ends at ``decided`` and a planned one that ends at ``reached``, after all others."""
    # A broken file has an id, too.
    head, batch_id = f"v1\n{_metadata(checkpoint)}\n", cast(int, checkpoint.last_id()) + 1
    for number, ends in ((batch_id, decided), (batch_id + 1, reached)):
        text = json.dumps({checkpoint.topic: {str(partition): ends[partition] for partition in sorted(ends)}})
        write_durably(checkpoint.folder / "offsets" / str(number), head + text)
    write_durably(checkpoint.folder / "commits" / str(batch_id), _COMMITTED)


def _metadata(checkpoint: Checkpoint) -> str:
    """What stands between version and offsets in Spark's file: watermark, time and settings of the micro-batch."""
    last = checkpoint.last_whole_batch()
    return _NO_METADATA if last is None else (checkpoint.folder / "offsets" / str(last)).read_text().splitlines()[1]


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    run(app)
