"""Where the stream began: a file of the checkpoint, written once, before the first micro-batch.

Read by the job, and by whoever counts what it has decided.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from fraud_io.files import write_durably

_FILE = "start.json"

Offsets = dict[int, int]
"""By partition."""


@dataclass(frozen=True)
class StreamStart:
    """Histories hold what came from ``histories_from`` on; decided is what came from ``decided_from`` on.

    rule : the setting that said so.
    """

    rule: str
    histories_from: Offsets
    decided_from: Offsets

    def write(self, checkpoint: Path) -> None:
        write_durably(checkpoint / _FILE, json.dumps(asdict(self)) + "\n")


def read_start(checkpoint: Path) -> StreamStart | None:
    """None: everything in the topic is decided, or nothing has begun."""
    file = checkpoint / _FILE
    if not file.exists():
        return None
    stored = json.loads(file.read_text())
    offsets = ({int(at): offset for at, offset in stored[name].items()} for name in ("histories_from", "decided_from"))
    return StreamStart(stored["rule"], *offsets)
