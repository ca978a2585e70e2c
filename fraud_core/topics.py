"""The one table of Kafka topics: role, default name, key, value schema, retention.

What they are called in a system is ``Settings.topics``.
"""

import re
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from fraud_core.timestamps import DAY_MS

_LONGEST_NAME = 249
_NAME = re.compile(rf"[A-Za-z0-9._-]{{1,{_LONGEST_NAME}}}")


@dataclass(frozen=True)
class Topic:
    """What a topic is for. ``key`` names the field whose value is the record key, so that its records share a
    partition. ``default_name`` is its name unless settings give it another."""

    default_name: str
    key: str
    schema: str
    retention_ms: int


TRANSACTIONS = Topic("transactions", "user_id", "transaction.schema.json", 365 * DAY_MS)
DEAD_LETTER = Topic("transactions_dead_letter", "key of the refused record", "dead_letter.schema.json", 365 * DAY_MS)
PREDICTIONS = Topic("fraud_predictions", "user_id", "prediction.schema.json", 365 * DAY_MS)
FEEDBACK = Topic("fraud_feedback", "transaction_id", "feedback.schema.json", 365 * DAY_MS)

TOPICS = {"transactions": TRANSACTIONS, "dead_letter": DEAD_LETTER, "predictions": PREDICTIONS, "feedback": FEEDBACK}
"""By role."""


class TopicNames(NamedTuple):
    """The names of one system's topics, by role as in TOPICS."""

    transactions: str
    dead_letter: str
    predictions: str
    feedback: str

    def faults(self) -> dict[str, str]:
        """By role, what is wrong with a name.

        >>> TopicNames("payments", "dead letters", "scores.v1", "scores_v1").faults()
        {'dead_letter': "topic 'dead letters': Kafka takes 1 to 249 of the characters A-Z a-z 0-9 . _ -", \
'predictions': "topic 'scores.v1' is that of two roles", 'feedback': "topic 'scores_v1' is that of two roles"}
        """
        # Brokers take names for the same that differ only in these two characters.
        used = Counter(name.replace(".", "_") for name in self)
        found = {}
        for role, name in self._asdict().items():
            if not _NAME.fullmatch(name) or name in (".", ".."):
                found[role] = f"topic {name!r}: Kafka takes 1 to {_LONGEST_NAME} of the characters A-Z a-z 0-9 . _ -"
            elif used[name.replace(".", "_")] > 1:
                found[role] = f"topic {name!r} is that of two roles"
        return found
