"""The users' histories in Valkey or Redis: opaque blobs of fraud_core.features.table, and how far they go.

The hash ``histories:{partition}`` holds the histories of a Kafka partition by user, and in its field ``position`` the
stream they belong to, the offset up to which they go, and their format. Evicted, expired or deleted, a key is gone as a
whole: with one key for all of it, no history is missing while the position says that it is there, so that no card the
store has lost passes for a new one. One HMGET and one HSET per partition serve a micro-batch.

On a crash it does not matter whether histories were written before or after the predictions: a history carries the
state before the micro-batch that wrote it, so the same micro-batch computes the same bits whether it finds the store
before or after its own write. What does matter is that the store is never *further* behind or ahead than that, and the
position tells: wiped, rolled back to an older copy or in another version's format means rebuild from the topic, ahead
or of another stream means refuse. A write asks for the position too: a store that was wiped since the read would else
look complete with the histories of one micro-batch in it.

An unreachable or full store is waited for, with a line in the log every few seconds; nothing is skipped.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, cast

import redis
from redis.client import Pipeline
from redis.exceptions import NoPermissionError

from fraud_core.features.history import FORMAT
from fraud_io.errors import OperatorError
from streaming import metrics
from streaming.errors import StoppedError
from streaming.state.checkpoint import OffsetRange

log = logging.getLogger(__name__)

_RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0)
_SCAN_COUNT = 200
_POSITION = b"position"

T = TypeVar("T")
Field = bytes | bytearray | memoryview | str | int | float  # as redis types what it takes


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
                pipeline.hmget(_key(partition), [_POSITION, *_fields(users.get(partition, ()))])
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
        values: dict[int, dict[Field, Field]] = {
            partition: {_POSITION: f"{self._stream_id} {covered.end} {FORMAT}"} for partition, covered in ranges.items()
        }
        blobs = iter(histories)
        for partition, of_partition in users.items():
            values[partition].update((field, next(blobs)) for field in _fields(of_partition))

        def change(pipeline: Pipeline) -> None:
            # Whoever changes a partition between this look and the write makes the write fail, and it is tried anew.
            for partition, covered in ranges.items():
                self._check(partition, covered, cast("bytes | None", pipeline.hget(_key(partition), _POSITION)))
            pipeline.multi()
            for partition, of_partition in values.items():
                pipeline.hset(_key(partition), mapping=of_partition)

        if ranges:
            self._until_reachable(lambda: self._client.transaction(change, *map(_key, ranges)))

    def position(self, partition: int) -> int | None:
        """The offset up to which this stream's histories of a partition go; None when there are none of this format."""
        position = self._until_reachable(lambda: self._client.hget(_key(partition), _POSITION))
        return None if position is None else self._offset(cast(bytes, position))

    def clear(self, partition: int) -> None:
        """Forget the position and all histories of a partition."""
        self._until_reachable(lambda: self._client.unlink(_key(partition)))

    def sweep(self, partition: int, cursor: int, is_over: Callable[[bytes], bool]) -> tuple[int, int]:
        """Look at some histories of a partition and remove those that are over. cursor : 0, or what the call before
        returned. Returns the next cursor, 0 after the last one, and how many were removed.

        A history that is written meanwhile is looked at again.
        """
        key = _key(partition)

        following, removed = 0, 0

        def change(pipeline: Pipeline) -> None:
            nonlocal following, removed
            following, found = cast("tuple[int, dict[bytes, bytes]]", pipeline.hscan(key, cursor, count=_SCAN_COUNT))
            over = [field for field, blob in found.items() if field != _POSITION and is_over(blob)]
            removed = len(over)
            pipeline.multi()
            if over:
                pipeline.hdel(key, *over)

        self._until_reachable(lambda: self._client.transaction(change, key))
        return following, removed

    def check_policy(self) -> None:
        """Raises OperatorError when a full store would make room by dropping histories."""

        def attempt() -> str | None:
            try:
                return self._client.info("memory").get("maxmemory_policy")
            except redis.ResponseError:  # INFO is forbidden, or has another name
                return None

        policy = self._until_reachable(attempt)
        if policy is None:
            log.warning("the online store does not tell its maxmemory-policy: make sure that it is noeviction")
        elif policy.startswith("allkeys"):
            raise OperatorError(
                f"the online store has maxmemory-policy {policy}: when it is full it would drop histories, and rebuild "
                "them from the topic again and again. Set it to noeviction (CONFIG SET maxmemory-policy noeviction, or "
                "the parameter group of a managed store) and give it memory for all histories (docs/operations.md)"
            )

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
                is_full = isinstance(error, redis.OutOfMemoryError)
                metrics.STORE_CALLS.labels("full" if is_full else "failed").inc()
                delay_s = _RETRY_S[min(tries, len(_RETRY_S) - 1)]
                tries += 1
                waited_s = time.monotonic() - began
                if is_full:
                    log.error("the online store is full, the stream waits since %.1f s: raise its maxmemory", waited_s)
                else:
                    log.warning("waiting for the online store since %.1f s: %s", waited_s, error)
                if self._stop.wait(delay_s):
                    raise StoppedError("stopped while waiting for the online store") from error
            else:
                metrics.STORE_CALLS.labels("ok").inc()
                metrics.STORE_SECONDS.observe(time.perf_counter() - called)
                if tries:
                    log.warning("the online store is back after %.1f s", time.monotonic() - began)
                return result


def _key(partition: int) -> str:
    return f"histories:{{{partition}}}"


def _fields(users: Sequence[str]) -> list[bytes]:
    """Never that of the position, whatever a user is called."""
    return [b":" + user.encode() for user in users]
