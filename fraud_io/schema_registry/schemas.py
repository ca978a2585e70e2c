"""The schemas of a registry by their id. What an id means never changes, so each is asked for once and kept on disk.

Not imported before a message needs it: the client takes a second to load.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NoReturn

import httpx2
from confluent_kafka.schema_registry import RegisteredSchema, Schema, SchemaRegistryClient, SchemaRegistryError
from confluent_kafka.schema_registry.error import OAuthTokenError

from fraud_core.settings import Settings, without_password
from fraud_io.errors import OperatorError
from fraud_io.files import write_durably
from fraud_io.schema_registry.errors import RegistryUnavailableError, UnknownSchemaError

# At INFO it writes each address it asks, with the password in it.
logging.getLogger("httpx2").setLevel(logging.WARNING)

_TIMEOUT_S = 5
_UNKNOWN = (40401, 40402, 40403)  # subject, version, schema; any other 404 is an address that is no registry's
_MAY_PASS = (408, 425, 429)
_REFUSED = (401, 403)


class Schemas(SchemaRegistryClient):
    """Schemas of the registry of ``settings``, and those they refer to.

    Raises UnknownSchemaError for what the registry does not have, RegistryUnavailableError when it does not answer, and
    OperatorError when it refuses or its address is none.
    """

    def __init__(self, settings: Settings) -> None:
        self._at = f"the schema registry at {without_password(settings.schema_registry_url or '')}"
        # Another registry may give the same ids to other schemas.
        address = hashlib.sha256(without_password(settings.schema_registry_url or "").encode()).hexdigest()
        self._folder = settings.schemas / address[:16]
        self._loaded: dict[str, RegisteredSchema] = {}
        try:
            super().__init__({**settings.schema_registry(), "max.retries": 0, "timeout": _TIMEOUT_S})
        except (OSError, ValueError) as error:
            raise OperatorError(
                f"{self._at} cannot be used ({error}): correct FRAUD_SCHEMA_REGISTRY_URL or "
                "FRAUD_SCHEMA_REGISTRY_CA_FILE"
            ) from error

    def get_schema(
        self,
        schema_id: int,
        subject_name: str | None = None,
        fmt: str | None = None,
        reference_format: str | None = None,
    ) -> Schema:
        """As the registry keeps it, whatever format is asked for: not every registry knows others."""

        def ask() -> RegisteredSchema:
            return RegisteredSchema.from_dict(self._rest_client.get(f"schemas/ids/{schema_id}"))

        return self._kept(f"{schema_id}.json", ask).schema

    def get_version(
        self,
        subject_name: str,
        version: int | Literal["latest"] = "latest",
        deleted: bool = False,
        fmt: str | None = None,
    ) -> RegisteredSchema:
        """A schema that another one refers to, as ``get_schema``."""

        def ask() -> RegisteredSchema:
            return SchemaRegistryClient.get_version(self, subject_name, version, deleted)

        name = hashlib.sha256(f"{subject_name}\0{version}".encode()).hexdigest()
        return self._kept(f"{name}.json", ask)

    def keep(self, schema_id: int) -> None:
        """Fetch a schema with all that it refers to; from then on it is read without the registry."""
        self._keep_references(self.get_schema(schema_id))

    def register_avro(self, subject: str, schema: dict[str, Any]) -> int:
        """The id of a schema, registered as the newest version of ``subject`` when it is not there yet."""
        with self._errors_in_words():
            return self.register_schema(subject, Schema(json.dumps(schema), "AVRO"))

    def _keep_references(self, schema: Schema) -> None:
        for reference in schema.references or ():
            assert reference.subject is not None and reference.version is not None
            self._keep_references(self.get_version(reference.subject, reference.version, True).schema)

    def _kept(self, name: str, ask: Callable[[], RegisteredSchema]) -> RegisteredSchema:
        if name not in self._loaded:
            file = self._folder / name
            if file.exists():
                schema = RegisteredSchema.from_dict(json.loads(file.read_text()))
            else:
                with self._errors_in_words():
                    schema = ask()
                write_durably(file, json.dumps(schema.to_dict()))
            self._loaded[name] = schema
        return self._loaded[name]

    @contextmanager
    def _errors_in_words(self) -> Iterator[None]:
        try:
            yield
        except SchemaRegistryError as error:
            self._refuse(error)
        except (httpx2.TransportError, OAuthTokenError) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise OperatorError(
                    f"{self._at} shows a certificate that is not trusted: set FRAUD_SCHEMA_REGISTRY_CA_FILE to the PEM "
                    "file of the authority that signed it"
                ) from error
            raise RegistryUnavailableError(f"{self._at} does not answer ({error})") from error
        except ValueError as error:  # no JSON
            raise self._no_registry() from error

    def _refuse(self, error: SchemaRegistryError) -> NoReturn:
        status = error.http_status_code
        if status == 404 and error.error_code in _UNKNOWN:
            raise UnknownSchemaError(str(error)) from error
        if status in _REFUSED:
            raise OperatorError(
                f"{self._at} refuses the credentials: check FRAUD_SCHEMA_REGISTRY_USERNAME and "
                "FRAUD_SCHEMA_REGISTRY_PASSWORD, or FRAUD_SCHEMA_REGISTRY_TOKEN"
            ) from error
        if status == 409:
            raise OperatorError(
                f"{self._at} refuses a schema that is not compatible with the one before it ({error}): set the "
                "compatibility of its subject to NONE for this change, or delete the subject"
            ) from error
        if status in _MAY_PASS or status >= 500:
            raise RegistryUnavailableError(f"{self._at} does not answer ({error})") from error
        raise self._no_registry() from error

    def _no_registry(self) -> OperatorError:
        return OperatorError(
            f"{self._at} does not answer as a schema registry does: set FRAUD_SCHEMA_REGISTRY_URL to the address below "
            "which it has schemas/ids, such as http://host:8081, or http://host:8080/apis/ccompat/v7 of Apicurio"
        )
