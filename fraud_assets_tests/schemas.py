"""A JSON Schema validator that is not ours, for what the project reads and writes."""

from functools import cache

import jsonschema_rs

from fraud_core.schema import load_schema


@cache
def validator(name: str) -> jsonschema_rs.Draft202012Validator:
    """Of the schema file ``name``."""
    return jsonschema_rs.Draft202012Validator(load_schema(name))
