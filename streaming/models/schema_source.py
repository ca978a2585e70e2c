"""The schema registry as the stream follows it: which schemas it has, and those that messages name, kept on disk.

A registry that does not answer is waited for, with a line in the log every few seconds; no message is refused for it.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from fraud_core.decisions.prediction_avro import prediction_avro_schema
from fraud_core.payments.envelopes import REGISTRY_HEADER, registry_schema_id
from fraud_core.settings import Settings, without_password
from fraud_io.errors import OperatorError
from fraud_io.schema_registry.errors import RegistryUnavailableError, UnknownSchemaError
from fraud_io.schema_registry.predictions import SUBJECT
from streaming.errors import StoppedError

if TYPE_CHECKING:
    from fraud_io.schema_registry.schemas import Schemas

T = TypeVar("T")

log = logging.getLogger(__name__)

_RETRY_S = 2.0
_ASK_AGAIN_S = 2.0  # for a schema the registry did not have


class SchemaSource:
    """``known`` : ids of schemas that are on disk with all they refer to; they are the same for good. ``stop`` ends a
    wait.

    Without a registry in ``settings`` it knows none, and asks nobody.
    """

    def __init__(self, settings: Settings, stop: threading.Event, known: Iterable[int] = ()) -> None:
        self._settings = settings
        self._stop = stop
        self._known = set(known)
        self._missed: dict[int, float] = {}  # when the registry did not have it
        url = settings.schema_registry_url
        self.address = without_password(url) if url else None

    @property
    def known(self) -> tuple[int, ...]:
        return tuple(sorted(self._known))

    def __contains__(self, schema_id: object) -> bool:
        return schema_id in self._known

    def learn(self, values: pa.ChunkedArray) -> None:
        """Ask for the schemas that the values of records (binary) name and that are not known."""
        if self.address is None:
            return
        for head in pc.unique(pc.binary_slice(values, 0, REGISTRY_HEADER + 1)).to_pylist():
            schema_id = registry_schema_id(head)
            if schema_id is None or schema_id in self._known or self._was_missed(schema_id):
                continue
            try:
                self.keep(schema_id)
            except UnknownSchemaError:
                self._missed[schema_id] = time.monotonic()
                log.warning("the schema registry has no schema %d", schema_id)

    @cached_property
    def prediction_schema(self) -> int | None:
        """The id of the schema in which predictions are written; it is registered when it is not yet. None: in JSON."""
        if self._settings.prediction_format == "json":
            return None
        if self.address is None:
            raise OperatorError(
                "FRAUD_PREDICTION_FORMAT is avro, which needs a schema registry: set FRAUD_SCHEMA_REGISTRY_URL"
            )
        subject = SUBJECT.format(topic=self._settings.topics.predictions)
        return self._until_reachable(lambda: self._schemas.register_avro(subject, prediction_avro_schema()))

    def keep(self, schema_id: int) -> None:
        """Raises UnknownSchemaError, or what Schemas raises but for a registry that does not answer."""
        self._until_reachable(lambda: self._schemas.keep(schema_id))
        self._known.add(schema_id)

    def _until_reachable(self, attempt: Callable[[], T]) -> T:
        began, tries = time.monotonic(), 0
        while True:
            try:
                result = attempt()
            except RegistryUnavailableError as error:
                tries += 1
                log.warning("waiting for the schema registry since %.1f s: %s", time.monotonic() - began, error)
                if self._stop.wait(_RETRY_S):
                    raise StoppedError("stopped while waiting for the schema registry") from error
            else:
                if tries:
                    log.warning("the schema registry is back after %.1f s", time.monotonic() - began)
                return result

    def _was_missed(self, schema_id: int) -> bool:
        return time.monotonic() - self._missed.get(schema_id, float("-inf")) < _ASK_AGAIN_S

    @cached_property
    def _schemas(self) -> "Schemas":
        from fraud_io.schema_registry.schemas import Schemas  # takes a second

        return Schemas(self._settings)
