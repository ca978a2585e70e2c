"""The seeded load: simulated payments that happen now, through each workload of the table in turn, and what must become
of each message."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from random import Random
from typing import cast

from confluent_kafka import KafkaError, Message

from fraud_core.payments.transaction import encode_transaction
from fraud_core.settings import Settings
from fraud_core.simulation.simulator import Simulator
from fraud_core.timestamps import now_ms
from fraud_io.errors import OperatorError
from fraud_io.kafka.producer import make_producer
from fraud_stack.chaos.workloads import WORKLOADS, Fate

RATE = 200  # payments a second
_CUSTOMERS = 500
_FIRST_DAY = 20_500
_TICK_S = 0.02
_TEMPLATES = 2_000
_HEAD_START = 100_000  # of a flood: more than a micro-batch takes, so that the job is never without a backlog
_FLUSH_S = 120.0

Position = tuple[int, int]  # partition, offset


class Load:
    """A context manager: while entered, a thread sends. ``positions`` says where the messages of each fate went."""

    def __init__(self, settings: Settings, seed: int, seconds: float) -> None:
        self.sent: Counter[str] = Counter()  # by workload
        self.positions: dict[Fate, set[Position]] = {"refused": set(), "either": set()}
        self._undelivered: KafkaError | None = None
        self._reports = {fate: self._keeper(fate) for fate in ("decided", "refused", "either")}
        self._seed = seed
        self._rng = Random(seed)
        self._slice_s = seconds / len(WORKLOADS)
        self._payments = _payments(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        options = {"linger.ms": 5, "queue.buffering.max.messages": 200_000}
        self._topics = settings.topics
        self._producer = make_producer({**settings.confluent_kafka(), **options})

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def finish(self) -> None:
        """Stop sending and wait for all deliveries. Raises OperatorError when a message was not sent or not taken."""
        if not self._thread.is_alive():
            raise OperatorError("the load ended before the faults did: see the error above")
        self._stop.set()
        self._thread.join()
        if left := self._producer.flush(_FLUSH_S):
            raise OperatorError(f"Kafka did not take {left} messages of the load in {_FLUSH_S:.0f} s")
        if self._undelivered is not None:
            raise OperatorError(f"Kafka refused a message of the load: {self._undelivered.str()}")

    def flood(self, seconds: float, decided: Callable[[], int]) -> int:
        """Send twice as many plain payments as are ``decided`` meanwhile, from this thread; how many they were."""
        templates = list(islice(_payments(self._seed + 1), _TEMPLATES))
        parts = [(row["user_id"], encode_transaction(row).split(row["transaction_id"].encode())) for row in templates]
        count, until = 0, time.monotonic() + seconds
        before = decided()
        while time.monotonic() < until:
            if count > 2 * (decided() - before) + _HEAD_START:
                time.sleep(_TICK_S)
                continue
            for user, (head, tail) in parts:
                self._send(b"%bflood-%d%b" % (head, count, tail), user, "decided")
                count += 1
            self._producer.poll(0)
        self.sent["flood"] += count
        return count

    def _run(self) -> None:
        order = list(WORKLOADS)
        self._rng.shuffle(order)
        began = time.monotonic()
        for payment in self._payments_in_time(began):
            workload = order[int((time.monotonic() - began) / self._slice_s) % len(order)]
            for value, fate in workload.messages(self._rng, payment):
                self._send(value, payment["user_id"], fate)
                self.sent[workload.name] += 1
            self._producer.poll(0)

    def _payments_in_time(self, began: float) -> Iterator[dict]:
        count = 0
        while not self._stop.is_set():
            ahead_s = count / RATE - (time.monotonic() - began)
            if ahead_s > _TICK_S:
                self._stop.wait(ahead_s)
            yield next(self._payments) | {"event_time_ms": now_ms()}
            count += 1

    def _send(self, value: bytes | None, user: str, fate: Fate) -> None:
        delivered = self._reports[fate]
        while True:
            try:
                return self._producer.produce(self._topics.transactions, value, user.encode(), on_delivery=delivered)
            except BufferError:
                self._producer.poll(0.5)  # the broker is down: wait for it

    def _keeper(self, fate: Fate):
        """A delivery report that notes where a message of this fate went."""
        found = self.positions.get(fate)

        def report(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._undelivered = error
            elif found is not None:
                found.add((cast(int, message.partition()), cast(int, message.offset())))  # it was delivered

        return report


def _payments(seed: int) -> Iterator[dict]:
    simulator, day = Simulator(_CUSTOMERS, seed), _FIRST_DAY
    while True:
        yield from simulator.day(day).transactions.iter_rows(named=True)
        day += 1
