"""How a schema cannot be had."""

from fraud_io.errors import OperatorError


class RegistryUnavailableError(OperatorError):
    """The registry does not answer in time. Unlike other errors of an operator it may pass by itself."""


class UnknownSchemaError(Exception):
    """The registry answers, and does not have it."""
