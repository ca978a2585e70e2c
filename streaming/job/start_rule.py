"""Where a new stream begins to decide (FRAUD_START_FROM): what lies before goes into the histories only."""

import logging

from fraud_core.settings import EARLIEST, LATEST, Settings
from fraud_core.timestamps import parse_rfc3339_ms
from fraud_io.kafka.reader import TopicReader
from fraud_io.stream_start import StreamStart
from streaming.state.checkpoint import Checkpoint

log = logging.getLogger(__name__)


def decide_start(checkpoint: Checkpoint, settings: Settings) -> StreamStart | None:
    """The start that the checkpoint records; a new one records that of the setting, and keeps it from then on.

    None: from the beginning of the topic. Raises what TopicReader raises.
    """
    if checkpoint.begins() or checkpoint.start is not None or settings.start_from == EARLIEST:
        return checkpoint.start
    reader, topic, rule = TopicReader(settings), checkpoint.topic, settings.start_from
    bounds = reader.bounds(topic)
    found = bounds if rule == LATEST else reader.since(topic, parse_rfc3339_ms(rule))
    mine = settings.scored_partitions
    decided = {
        at: max(first, end if rule == LATEST else found[at][0])
        for at, (first, end) in bounds.items()
        if mine is None or at in mine
    }
    start = StreamStart(rule, {at: bounds[at][0] for at in decided}, decided)
    start.write(checkpoint.folder)
    past = sum(decided.values()) - sum(start.histories_from.values())
    log.info("a new stream: decides from offsets %s on, %d records before that are read into histories", decided, past)
    return start
