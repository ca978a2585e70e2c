"""The ledger of the stream: every record of ``transactions`` is decided exactly once, or is a dead letter."""

from dataclasses import asdict, dataclass

import numpy as np
import orjson

from fraud_core.settings import Settings
from fraud_core.topics import DEAD_LETTER, PREDICTIONS, TRANSACTIONS
from fraud_stack.records import end_offsets, read


@dataclass(frozen=True)
class Ledger:
    """Counts of records. ``lost`` have neither a prediction nor a dead letter, ``duplicates`` more than one of them."""

    produced: int
    predicted: int
    dead_lettered: int
    lost: int
    duplicates: int

    @property
    def is_balanced(self) -> bool:
        return self.lost == self.duplicates == 0 and self.produced == self.predicted + self.dead_lettered

    def to_dict(self) -> dict[str, int]:
        return asdict(self)


def take_ledger(settings: Settings) -> Ledger:
    """Read the topics from their beginning to their present end. Memory: two bytes a transaction."""
    ranges = end_offsets(settings, TRANSACTIONS.name)
    times = {kind: {at: np.zeros(end - start, np.uint8) for at, (start, end) in ranges.items()} for kind in "pd"}
    for kind, topic in (("p", PREDICTIONS), ("d", DEAD_LETTER)):
        for record in read(settings, topic.name):
            answer = orjson.loads(record.value())
            start, end = ranges[answer["partition"]]
            # A transaction that arrived after the end was read is the next ledger's.
            if start <= answer["offset"] < end:
                times[kind][answer["partition"]][answer["offset"] - start] += 1
    predicted, refused = (np.concatenate([*times[kind].values(), np.empty(0, np.uint8)]) for kind in "pd")
    answers = predicted + refused
    return Ledger(
        produced=len(answers),
        predicted=int(np.count_nonzero(predicted)),
        dead_lettered=int(np.count_nonzero(refused)),
        lost=int(np.count_nonzero(answers == 0)),
        duplicates=int((answers[answers > 1] - 1).sum()),
    )
