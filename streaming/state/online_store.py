"""The users' histories in Valkey or Redis: opaque blobs of fraud_core.features.table, and how far they go.

Keys: ``h:{partition}:user`` holds a history, ``position:{partition}`` the stream it belongs to, the offset up to which
the histories of that partition go, and their format. The braces are part of the key: they put all keys of a Kafka
partition into one slot of a cluster, so one MGET and one MSET per partition serve a micro-batch, and a partition is
written completely or not at all.

On a crash it does not matter whether histories were written before or after the predictions: a history carries the
state before the micro-batch that wrote it, so the same micro-batch computes the same bits whether it finds the store
before or after its own write. What does matter is that the store is never *further* behind or ahead than that, and the
position tells: wiped, rolled back to an older copy or in another version's format means rebuild from the topic, ahead
or of another stream means refuse. A write asks for the position too: a store that was wiped since the read would else
look complete with the histories of one micro-batch in it.

An unreachable store is waited for, with a line in the log every few seconds; nothing is skipped.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, cast

import redis
from redis.exceptions import NoPermissionError

from fraud_core.features.history import FORMAT
from fraud_io.errors import OperatorError
from streaming import metrics
from streaming.errors import StoppedError
from streaming.state.checkpoint import OffsetRange

log = logging.getLogger(__name__)

_RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0)
_SCAN_COUNT = 1000

T = TypeVar("T")


class HistoriesLostError(Exception):
    """The histories of ``partition`` do not reach up to the micro-batch: rebuild them from the topic."""

    def __init__(self, partition: int) -> None:
        super().__init__(f"the online store has lost histories of partition {partition}")
        self.partition = partition


class OnlineStore:
    """Histories of one stream. ``stream_id`` names it; ``stop`` ends a wait for an unreachable store."""

    def __init__(self, url: str, stream_id: str, stop: threading.Event, *, timeout_s: float = 5.0) -> None:
        try:
            self._client = redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
        except ValueError as error:
            raise OperatorError(f"FRAUD_STORE_URL is no address of a store: {error}") from error
        self._stream_id = stream_id
        self._stop = stop

    def read(self, ranges: Mapping[int, OffsetRange], users: Mapping[int, Sequence[str]]) -> list[bytes | None]:
        """Histories of the users of each partition, one after the other in the order of ``users``.

        Raises HistoriesLostError or OperatorError when a partition's histories are not those this micro-batch needs.
        """

        def attempt() -> list[list[bytes | None]]:
            pipeline = self._client.pipeline(transaction=False)
            for partition in ranges:
                pipeline.mget([_position_key(partition), *_history_keys(partition, users.get(partition, ()))])
            return pipeline.execute()

        found = dict(zip(ranges, self._until_reachable(attempt), strict=True))
        for partition, (position, *_) in found.items():
            self._check(partition, ranges[partition], position)
        return [blob for partition in users for blob in found[partition][1:]]

    def write(
        self, ranges: Mapping[int, OffsetRange], users: Mapping[int, Sequence[str]], histories: Sequence[bytes]
    ) -> None:
        """Store the histories, aligned with the users as in ``read``, as those at the end of ``ranges``.

        Raises as ``read`` does, and has then written nothing: what it adds to must still be there.
        """
        values: dict[int, dict[str, str | bytes]] = {
            partition: {_position_key(partition): f"{self._stream_id} {covered.end} {FORMAT}"}
            for partition, covered in ranges.items()
        }
        blobs = iter(histories)
        for partition, of_partition in users.items():
            values[partition].update((key, next(blobs)) for key in _history_keys(partition, of_partition))

        positions = [_position_key(partition) for partition in ranges]

        def attempt() -> None:
            with self._client.pipeline() as pipeline:
                # Whoever changes a position between this look and the write makes the write fail, and it is tried anew.
                pipeline.watch(*positions)
                for partition, position in zip(ranges, pipeline.mget(positions), strict=True):
                    self._check(partition, ranges[partition], cast("bytes | None", position))
                pipeline.multi()
                for of_partition in values.values():
                    pipeline.mset(of_partition)
                pipeline.execute()

        if positions:
            self._until_reachable(attempt)

    def position(self, partition: int) -> int | None:
        """The offset up to which this stream's histories of a partition go; None when there are none of this format."""
        position = self._until_reachable(lambda: self._client.get(_position_key(partition)))
        return None if position is None else self._offset(cast(bytes, position))

    def clear(self, partition: int) -> None:
        """Forget the position and all histories of a partition."""

        def attempt() -> None:
            self._client.delete(_position_key(partition))
            keys = self._client.scan_iter(match=_history_keys(partition, "*")[0], count=_SCAN_COUNT)
            pipeline = self._client.pipeline(transaction=False)
            for key in keys:
                pipeline.unlink(key)
            pipeline.execute()

        self._until_reachable(attempt)

    def _check(self, partition: int, covered: OffsetRange, position: bytes | None) -> None:
        if position is None:
            if covered.start > covered.initial:
                raise HistoriesLostError(partition)
            return
        offset = self._offset(position)
        if offset is None:
            raise HistoriesLostError(partition)
        if offset in (covered.start, covered.end):
            return
        if offset < covered.start:
            raise HistoriesLostError(partition)
        raise OperatorError(
            f"the online store is ahead of the checkpoint (partition {partition}: {offset} against {covered.start}): "
            "restore the checkpoint that belongs to it, or empty the store (FLUSHDB) and start again"
        )

    def _offset(self, position: bytes) -> int | None:
        """None: the histories have another format. Format 1 wrote none."""
        stream_id, offset, *found = position.decode().removeprefix(self._stream_id).split(" ")
        if stream_id:
            raise OperatorError(
                "the online store holds the histories of another checkpoint: use another store (FRAUD_STORE_URL), or "
                "empty this one (FLUSHDB) and start again, the job then rebuilds what it needs from the topic"
            )
        return int(offset) if found == [str(FORMAT)] else None

    def _until_reachable(self, attempt: Callable[[], T]) -> T:
        """Call until the store answers. Raises StoppedError when the job is asked to stop meanwhile."""
        began, tries = time.monotonic(), 0
        while True:
            called = time.perf_counter()
            try:
                result = attempt()
            except (redis.AuthenticationError, NoPermissionError) as error:
                raise OperatorError(
                    f"the online store refuses the credentials ({error}): put them into FRAUD_STORE_URL, as in "
                    "redis://user:password@host:6379/0"
                ) from error
            except redis.RedisError as error:
                metrics.STORE_CALLS.labels("failed").inc()
                delay_s = _RETRY_S[min(tries, len(_RETRY_S) - 1)]
                tries += 1
                waited_s = time.monotonic() - began
                log.warning("waiting for the online store since %.1f s: %s", waited_s, error)
                if self._stop.wait(delay_s):
                    raise StoppedError("stopped while waiting for the online store") from error
            else:
                metrics.STORE_CALLS.labels("ok").inc()
                metrics.STORE_SECONDS.observe(time.perf_counter() - called)
                if tries:
                    log.warning("the online store is back after %.1f s", time.monotonic() - began)
                return result


def _position_key(partition: int) -> str:
    return f"position:{{{partition}}}"


def _history_keys(partition: int, users: Sequence[str]) -> list[str]:
    return [f"h:{{{partition}}}:{user}" for user in users]
