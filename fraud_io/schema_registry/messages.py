"""Opens messages in a schema registry's wire format (Avro, Protobuf, JSON) beside the plain ones: for every reader of
payments and labels the same. What their fields mean is decided where it is for all (fraud_core.payments.reader).
"""

from collections.abc import Container
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from fraud_core.payments.envelopes import (
    EnvelopeError,
    OpenMessage,
    open_message,
    registry_schema_id,
)
from fraud_core.payments.reader import ReadingRules
from fraud_core.settings import Settings
from fraud_io.schema_registry.errors import UnknownSchemaError

if TYPE_CHECKING:
    from fraud_io.schema_registry.decoder import Decoder


def opener(settings: Settings, known: Container[int] | None = None) -> OpenMessage:
    """What finds the fields in a record's value. known : see RegistryMessages."""
    return RegistryMessages(settings, known) if settings.schema_registry_url else open_message


def reading_rules(settings: Settings) -> ReadingRules:
    """Those of the settings, for messages of a topic."""
    return replace(settings.reading_rules, open_message=opener(settings))


class RegistryMessages:
    """An OpenMessage. Raises OperatorError as Schemas does, which no message is to blame for.

    known : ids that the registry has; any other one is refused without asking it. None: it is asked.
    """

    def __init__(self, settings: Settings, known: Container[int] | None = None) -> None:
        self._settings = settings
        self._known = known
        self._unknown: set[int] = set()  # the registry is not asked again for each of their messages

    def __reduce__(self) -> tuple[object, ...]:
        """A process that is handed one makes a client of its own."""
        return RegistryMessages, (self._settings, self._known)

    def __call__(self, value: bytes | None) -> dict[str, object]:
        schema_id = registry_schema_id(value)
        if value is None or schema_id is None:
            return open_message(value)
        try:
            if schema_id in self._unknown or (self._known is not None and schema_id not in self._known):
                raise UnknownSchemaError
            return self._decoder.decode(schema_id, value)
        except UnknownSchemaError:
            self._unknown |= {schema_id} if self._known is None else set()
            raise EnvelopeError(
                "unknown schema",
                f"the schema registry has no schema {schema_id}: register it, or let FRAUD_SCHEMA_REGISTRY_URL name "
                "the registry of the producer, and send the record again (./run dead-letters replay)",
            ) from None

    @cached_property
    def _decoder(self) -> "Decoder":
        from fraud_io.schema_registry.decoder import Decoder

        return Decoder(self._settings)
