"""Waits in the triggerer for a Dagster run to end, and cancels it when the waiting task is killed."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
from airflow.triggers.base import BaseTrigger, TriggerEvent
from dagster_runs import FINISHED, DagsterRefusedError, DagsterRuns

PATIENCE_S = 600


class DagsterRunTrigger(BaseTrigger):
    """Fires once, with ``run_id``, ``status`` (SUCCESS, FAILURE, CANCELED or LOST) and ``message`` (why it is LOST).

    A web server that does not answer is asked again for PATIENCE_S seconds: it restarts, the run goes on. Then the run
    is LOST, and left alone: it may well succeed.
    """

    def __init__(self, address: str, run_id: str, poll_s: float) -> None:
        super().__init__()
        self.address, self.run_id, self.poll_s = address, run_id, poll_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        arguments = {"address": self.address, "run_id": self.run_id, "poll_s": self.poll_s}
        return "dagster_trigger.DagsterRunTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        answered_at = time.monotonic()
        while True:
            # Not at once: the worker's process ends up to five seconds after the task was deferred, which Airflow takes
            # for a failure of the task when it is running again by then.
            await asyncio.sleep(self.poll_s)
            try:
                status = await DagsterRuns(self.address).status(self.run_id)
            except DagsterRefusedError as error:
                yield self._event("LOST", str(error))
                return
            except httpx.HTTPError as error:
                silent_s = time.monotonic() - answered_at
                self.log.warning("Dagster does not answer: %s", repr(error))
                if silent_s > PATIENCE_S:
                    yield self._event("LOST", f"Dagster does not answer for {silent_s:.0f} s: {error!r}")
                    return
            else:
                answered_at = time.monotonic()
                if status in FINISHED:
                    yield self._event(status)
                    return

    async def on_kill(self) -> None:
        """Somebody marked the waiting task failed or succeeded, or cleared it. A restart of the triggerer is no such
        thing: then the run goes on, and another triggerer waits for it."""
        await DagsterRuns(self.address).cancel(self.run_id)
        self.log.info("Cancelled the Dagster run %s", self.run_id)

    def _event(self, status: str, message: str = "") -> TriggerEvent:
        return TriggerEvent({"run_id": self.run_id, "status": status, "message": message})
