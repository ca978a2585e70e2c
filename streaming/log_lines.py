"""How a line of the job's log looks: time, level, module, the micro-batch it belongs to (- outside of one), message.

Messages hold counts, positions, versions and addresses; never a card, a person, a transaction or what a record held.
"""

import logging
import sys
from contextvars import ContextVar

BATCH: ContextVar[str] = ContextVar("batch", default="-")


def configure() -> None:
    """Send the log of this process to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(add_batch)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s batch=%(batch)s %(message)s",
        handlers=[handler],
    )


def add_batch(record: logging.LogRecord) -> bool:
    record.batch = BATCH.get()
    return True
