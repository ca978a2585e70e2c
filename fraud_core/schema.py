"""JSON Schema validation: the files in ``fraud_core/schemas`` are the only definition of what a message may hold."""

import json
from functools import cache
from pathlib import Path

import jsonschema_rs

_FOLDER = Path(__file__).parent / "schemas"


def load_schema(name: str) -> dict:
    return json.loads((_FOLDER / name).read_text())


@cache
def validator(name: str) -> jsonschema_rs.Draft202012Validator:
    """Compiled validator of the schema file ``name``; about 1 microsecond a message."""
    return jsonschema_rs.Draft202012Validator(load_schema(name))


def explain(name: str, message: object) -> str:
    """One sentence on the first thing wrong with an invalid message: where it is and what was expected."""
    error = next(iter(validator(name).iter_errors(message)))
    where = ".".join(str(part) for part in error.instance_path)
    return f"{where}: {error.message}" if where else error.message
