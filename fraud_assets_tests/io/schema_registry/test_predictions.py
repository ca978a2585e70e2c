"""Predictions in Avro: what a consumer of a registry reads, and what this project reads back."""

from pathlib import Path

import msgspec
import orjson
import pytest
from confluent_kafka.schema_registry.avro import AvroDeserializer

from fraud_assets_tests.apicurio import Apicurio
from fraud_assets_tests.streaming.job.test_format import written
from fraud_core.decisions.prediction import PREDICTION_FIELDS
from fraud_core.decisions.prediction_avro import prediction_avro_schema
from fraud_core.schema import load_schema
from fraud_core.settings import Settings
from fraud_core.topics import PREDICTIONS
from fraud_io.errors import OperatorError
from fraud_io.schema_registry.predictions import as_json, to_avro
from fraud_io.schema_registry.schemas import Schemas

JSON = [line.encode() for line in written()[:3]]


@pytest.fixture(scope="module")
def settings(running_registry: Apicurio, tmp_path_factory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"), schema_registry_url=running_registry.url)


def test_both_schemas_name_the_same_fields_and_what_may_be_null():
    of_json, of_avro = load_schema(PREDICTIONS.schema), prediction_avro_schema()
    types = {field["name"]: field["type"] for field in of_avro["fields"]}
    assert tuple(types) == PREDICTION_FIELDS
    assert types.keys() == of_json["properties"].keys() == set(of_json["required"])
    for name, rule in of_json["properties"].items():
        may_be_null = None in rule.get("enum", ()) or "null" in rule.get("type", ())
        assert may_be_null == (isinstance(types[name], list) and "null" in types[name]), name


def test_predictions_come_back_to_the_bit_and_another_consumer_reads_the_same(registry: Apicurio, settings: Settings):
    schemas = Schemas(settings)
    schema_id = schemas.register_avro("fraud_predictions-value", prediction_avro_schema())
    assert schemas.register_avro("fraud_predictions-value", prediction_avro_schema()) == schema_id
    values = to_avro(JSON, schema_id)
    read, other = as_json(settings), AvroDeserializer(registry.client)
    assert len(values) == 3
    for value, expected in zip(values, JSON, strict=True):
        assert value[:1] == b"\0"
        assert read(value) == expected
        assert other(value) == orjson.loads(expected)
    assert [read(value) for value in JSON] == JSON
    assert read(None) == b""
    # Reasons, a null score and ignored fields are among what was tried.
    assert {bool(orjson.loads(value)["reasons"]) for value in JSON} == {True, False}
    assert any(orjson.loads(value)["ignored_fields"] for value in JSON)


def test_what_is_null_without_a_model_stays_null(registry: Apicurio, settings: Settings):
    schema_id = Schemas(settings).register_avro("fraud_predictions-value", prediction_avro_schema())
    fields = msgspec.json.decode(JSON[0])
    nullable = [field["name"] for field in prediction_avro_schema()["fields"] if isinstance(field["type"], list)]
    assert "score" in nullable
    value = msgspec.json.encode(fields | dict.fromkeys(nullable))
    assert as_json(settings)(to_avro([value], schema_id)[0]) == value


def test_a_schema_that_is_not_compatible_with_the_one_before_is_an_error_of_the_operator(registry, settings):
    registry.client.set_compatibility("strict-value", "FULL")
    schemas = Schemas(settings)
    record = {"type": "record", "name": "P", "fields": [{"name": "x", "type": "long"}]}
    schemas.register_avro("strict-value", record)
    with pytest.raises(OperatorError, match="compatib"):
        schemas.register_avro("strict-value", record | {"fields": [{"name": "y", "type": "string"}]})


def test_without_the_setting_predictions_in_avro_say_what_is_missing(tmp_path: Path):
    with pytest.raises(ValueError, match="FRAUD_SCHEMA_REGISTRY_URL"):
        as_json(Settings(home=tmp_path))(to_avro(JSON, 7)[0])
