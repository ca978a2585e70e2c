"""Sends records and knows when their answers are there. Everything is timed by what Kafka recorded."""

import time
from collections.abc import Iterator
from itertools import islice

import numpy as np

from benchmarks.streaming.inputs import Record
from benchmarks.streaming.scene import Scene
from fraud_core.timestamps import now_ms
from fraud_io.kafka.producer import make_producer
from fraud_io.kafka.reader import TopicReader

_TICK_S = 0.001
_LOOK_S = 0.05
_WARM_S = 120.0
_ID = b'"transaction_id":"'
_NO_MODEL = b'"score":null'


class Load:
    """``traffic`` goes on from call to call: no transaction is sent twice."""

    def __init__(self, scene: Scene, traffic: Iterator[Record]) -> None:
        self._scene = scene
        self._traffic = traffic
        self._topics = scene.settings.topics
        kafka = scene.settings.confluent_kafka()
        options = {"linger.ms": 1, "queue.buffering.max.messages": 1_000_000, "queue.buffering.max.kbytes": 1_000_000}
        self._producer = make_producer({**kafka, **options})
        self._reader = TopicReader(scene.settings)
        self._sent = 0

    def warm_up(self, records: int) -> None:
        """Send one record and then the others, and wait for the answers.

        RuntimeError when they do not come, or are no model's: what decides nothing is fast.
        """
        for some in (1, records - 1):
            self.burst(some)
            if self.wait(_WARM_S) is None:
                raise RuntimeError(f"not everything is answered within {_WARM_S:.0f} s, although nothing else is sent")
        newest = {partition: (end - 1, end) for partition, end in self.answered().items() if end > 0}
        if any(_NO_MODEL in message.value() for message in self._reader.read(self._topics.predictions, newest)):
            raise RuntimeError("payments are answered, but not by a model")

    def burst(self, records: int) -> None:
        """As fast as the broker takes them; all are in the topic on return."""
        for key, value in islice(self._traffic, records):
            self._producer.produce(self._topics.transactions, value, key)
        self._sent += records
        self._producer.flush()

    def steady(self, rate: int, seconds: float) -> None:
        began, sent = time.perf_counter(), 0
        while (passed_s := time.perf_counter() - began) < seconds:
            due = int(passed_s * rate) - sent
            for key, value in islice(self._traffic, due):
                self._producer.produce(self._topics.transactions, value, key)
            sent += due
            self._producer.poll(0)
            time.sleep(_TICK_S)
        self._sent += sent

    def wait(self, timeout_s: float) -> float | None:
        """Wait until everything sent is answered; returns the time (Unix, in seconds) at which it was seen to be, None
        when it was not by then."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if sum(self.answered().values()) >= self._sent:
                return time.time()
            self._scene.check_alive()
            time.sleep(_LOOK_S)
        return None

    def answered(self) -> dict[int, int]:
        """End offset of each partition of the predictions."""
        return self._ends(self._topics.predictions)

    def latencies_ms(
        self, since_ms: int, transactions_from: dict[int, int], predictions_from: dict[int, int]
    ) -> np.ndarray:
        """(n,) int64, record time of the transaction to record time of its prediction, for every transaction sent since
        then that has one. The offsets say where to begin reading."""
        sent = dict(self._times(self._topics.transactions, transactions_from))
        answered = dict(self._times(self._topics.predictions, predictions_from))
        pairs = ((at, answered.get(name)) for name, at in sent.items() if at >= since_ms)
        return np.array([then - at for at, then in pairs if then is not None], dtype=np.int64)

    def position(self) -> tuple[int, dict[int, int], dict[int, int]]:
        """Now, as ``latencies_ms`` takes it."""
        return now_ms(), self._ends(self._topics.transactions), self.answered()

    def _ends(self, topic: str) -> dict[int, int]:
        return {partition: end for partition, (_, end) in self._reader.bounds(topic).items()}

    def _times(self, topic: str, begin: dict[int, int]) -> Iterator[tuple[bytes, int]]:
        """Transaction id and record time in ms of every record from the offsets ``begin`` to the present end."""
        for message in self._reader.read(topic, self._reader.beyond(topic, begin)):
            yield message.value().partition(_ID)[2].partition(b'"')[0], message.timestamp()[1]
