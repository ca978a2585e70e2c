"""The one table of Kafka topics: name, key, value schema, retention."""

from dataclasses import dataclass

from fraud_core.timestamps import DAY_MS


@dataclass(frozen=True)
class Topic:
    """A Kafka topic. ``key`` names the field whose value is the record key, so that its records share a partition."""

    name: str
    key: str
    schema: str
    retention_ms: int


TRANSACTIONS = Topic("transactions", "user_id", "transaction.schema.json", 365 * DAY_MS)
DEAD_LETTER = Topic("transactions_dead_letter", "key of the refused record", "dead_letter.schema.json", 365 * DAY_MS)
PREDICTIONS = Topic("fraud_predictions", "user_id", "prediction.schema.json", 365 * DAY_MS)
FEEDBACK = Topic("fraud_feedback", "transaction_id", "feedback.schema.json", 365 * DAY_MS)

TOPICS = (TRANSACTIONS, DEAD_LETTER, PREDICTIONS, FEEDBACK)
