"""The Avro schema of predictions, derived from their JSON Schema: both say the same, field by field."""

from typing import Any

from fraud_core.decisions.prediction import PREDICTION_FIELDS
from fraud_core.schema import load_schema
from fraud_core.topics import PREDICTIONS

_TYPES = {"string": "string", "number": "double", "integer": "long", "boolean": "boolean", "null": "null"}


def prediction_avro_schema() -> dict[str, Any]:
    """A record whose fields have the order in which a prediction is written."""
    properties = load_schema(PREDICTIONS.schema)["properties"]
    fields = [_field(name, properties[name]) for name in PREDICTION_FIELDS]
    return {"type": "record", "name": "Prediction", "namespace": "fraud", "fields": fields}


def _field(name: str, rule: dict[str, Any]) -> dict[str, Any]:
    described = {"doc": rule["description"]} if "description" in rule else {}
    return {"name": name, "type": _type(name, rule), **described}


def _type(name: str, rule: dict[str, Any]) -> Any:
    if "enum" in rule:
        kinds = {"null" if value is None else "long" if isinstance(value, int) else "string" for value in rule["enum"]}
        return _of_kinds(sorted(kinds, key=lambda kind: kind != "null"))
    if rule["type"] == "array":
        return {"type": "array", "items": _type(name, rule["items"])}
    if rule["type"] == "object" and "properties" in rule:
        fields = [_field(inner, of_inner) for inner, of_inner in rule["properties"].items()]
        return {"type": "record", "name": name.removesuffix("s").title(), "fields": fields}
    if rule["type"] == "object":
        return {"type": "map", "values": _type(name, rule["additionalProperties"])}
    allowed = [rule["type"]] if isinstance(rule["type"], str) else rule["type"]
    return _of_kinds([_TYPES[kind] for kind in sorted(allowed, key=lambda kind: kind != "null")])


def _of_kinds(kinds: list[str]) -> str | list[str]:
    return kinds[0] if len(kinds) == 1 else kinds
