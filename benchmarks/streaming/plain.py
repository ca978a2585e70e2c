"""The yardstick: the core functions of the job in a plain loop of one process, without Spark.

It has no checkpoint and no plan: a crash would lose track of what was scored, and with which model.
"""

import logging
import signal
import threading

import pyarrow as pa
from confluent_kafka import Message, TopicPartition

from benchmarks.streaming.inputs import CHALLENGER, CHAMPION
from fraud_core.settings import Settings
from fraud_core.timestamps import format_rfc3339_ms, now_ms
from fraud_io.folders import Lake
from fraud_io.kafka.errors import KafkaRefusals
from fraud_io.kafka.reader import consumer
from streaming.job.scorer import SCHEMA, Scorer, Serving
from streaming.job.sink import KafkaSink
from streaming.job.warm_up import warm_up
from streaming.models import merchant_risk_source
from streaming.models.model_cache import ModelCache
from streaming.state.checkpoint import OffsetRange
from streaming.state.online_store import OnlineStore

_MOST = 10_000
_WAIT_S = 0.005


def serving(settings: Settings) -> Serving:
    """Both models and the risk tables that lie in FRAUD_HOME."""
    models = ModelCache(settings.model_cache, settings.currency).models(CHAMPION, CHALLENGER)
    folder = Lake(settings.lake).merchant_risk
    tables = merchant_risk_source.load(folder, merchant_risk_source.newest(folder))
    return Serving(models, tables, settings.reading_rules, review_share=settings.review_share)


def main() -> None:
    settings, stop = Settings(), threading.Event()
    topics = settings.topics
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    warm_up()
    decides = serving(settings)
    store = OnlineStore(settings.store_address, "plain", stop)
    scorer = Scorer(store, topics.transactions)
    sink = KafkaSink(settings.confluent_kafka(), stop)
    ends = dict.fromkeys(range(settings.partitions), 0)
    reader = consumer(settings, KafkaRefusals(settings))
    reader.assign([TopicPartition(topics.transactions, partition, 0) for partition in ends])
    while not stop.is_set():
        messages = reader.consume(_MOST, timeout=_WAIT_S)
        if not messages:
            continue
        begins, ends = ends, ends | {message.partition(): message.offset() + 1 for message in messages}
        covered = {at: OffsetRange(0, begins[at], end) for at, end in ends.items() if end > begins[at]}
        scored = scorer.score(_table(messages), covered, decides)
        headers = {"scored_at": format_rfc3339_ms(now_ms())}
        sink.send(topics.predictions, scored.predictions, headers)
        sink.send(topics.dead_letter, scored.dead_letters, headers)
        store.write(covered, scored.histories.users, scored.histories.blobs)
        sink.flush()


def _table(messages: list[Message]) -> pa.Table:
    columns = zip(
        *(
            (message.key(), message.value(), message.partition(), message.offset(), message.timestamp()[1] * 1000)
            for message in messages
        ),
        strict=True,
    )
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], SCHEMA)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main()
