"""Payments and labels in a registry's wire format, through a real registry: they mean what the same JSON means."""

import io
import json
import pickle
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import polars as pl
import pyarrow as pa
import pytest
from confluent_kafka.schema_registry import SchemaReference, topic_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from fastavro import parse_schema, schemaless_writer
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_tools import protoc
from hypothesis import given
from hypothesis import strategies as st
from pyspark import cloudpickle

from fraud_assets.decoding import decode_batches
from fraud_assets_tests.apicurio import Apicurio
from fraud_core.labels.known import decode_feedback
from fraud_core.payments.envelopes import EnvelopeError, OpenMessage, open_message
from fraud_core.payments.reader import ReadingRules
from fraud_core.payments.transaction import Decoded, decode_transactions
from fraud_core.settings import Settings
from fraud_io.errors import OperatorError
from fraud_io.schema_registry.errors import RegistryUnavailableError
from fraud_io.schema_registry.messages import opener, reading_rules

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
OPTIONAL = {"merchant_category": "5411", "channel": "online", "country": "DE", "device_id": "d-9"}
VALUE = SerializationContext("transactions", MessageField.VALUE)
TOPIC_SUBJECTS = {"subject.name.strategy": topic_subject_name_strategy}

AVRO = {
    "type": "record",
    "name": "Payment",
    "namespace": "bank",
    "fields": [
        {"name": "transaction_id", "type": "string"},
        {"name": "user_id", "type": "long"},
        {"name": "merchant_id", "type": "string"},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "currency", "type": {"type": "enum", "name": "Currency", "symbols": ["EUR", "USD", "JPY"]}},
        {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        *({"name": name, "type": ["null", "string"], "default": None} for name in OPTIONAL),
        {"name": "latitude", "type": ["null", "double"], "default": None},
        {"name": "longitude", "type": ["null", "double"], "default": None},
    ],
}
PROTOBUF = """
syntax = "proto3";
package bank;
import "google/protobuf/timestamp.proto";
enum Currency { UNSPECIFIED = 0; EUR = 1; USD = 2; JPY = 3; }
message Other { string note = 1; }
message Payment {
  string transaction_id = 1;
  int64 user_id = 2;
  string merchant_id = 3;
  double amount = 4;
  Currency currency = 5;
  google.protobuf.Timestamp timestamp = 6;
  string merchant_category = 7;
  optional string channel = 8;
  string country = 9;
  string device_id = 10;
  optional double latitude = 11;
  optional double longitude = 12;
}
"""
JSON_SCHEMA = json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", "title": "Payment", "type": "object"})
PLAIN = {
    "transaction_id": "t",
    "user_id": 1,
    "merchant_id": "m",
    "amount": Decimal("1.00"),
    "currency": "EUR",
    "timestamp": NOON,
}
DECIMAL = {"type": "fixed", "name": "F", "size": 8, "logicalType": "decimal", "precision": 9, "scale": 3}
PAYMENTS = st.fixed_dictionaries(
    {
        "transaction_id": st.text("abc-19", min_size=1, max_size=64),
        "user_id": st.integers(1, 2**63 - 1),
        "merchant_id": st.sampled_from(["m", "m-1"]),
        "amount": st.integers(-100_000_000_000, 100_000_000_000).map(lambda minor: Decimal(minor).scaleb(-2)),
        "currency": st.sampled_from(["EUR", "USD", "JPY"]),
        "timestamp": st.integers(0, 10**12).map(lambda ms: NOON - timedelta(milliseconds=ms)),
    },
    optional={
        **{name: st.just(value) for name, value in OPTIONAL.items()},
        "latitude": st.floats(-90, 90),
        "longitude": st.floats(-180, 180),
    },
)


class Producers(NamedTuple):
    """What makes the value of a record from a payment, one for each way a registry's serializers write."""

    avro: Callable[[dict[str, Any]], bytes]
    protobuf: Callable[[dict[str, Any]], bytes]
    protobuf_registered_compiled: Callable[[dict[str, Any]], bytes]
    json: Callable[[dict[str, Any]], bytes]


def generated(folder: Path, text: str, message: str) -> type[Message]:
    """The class that a producer generates from a schema."""
    (folder / "payment.proto").write_text(text)
    out = folder / "payment.binpb"
    assert protoc.main(["protoc", f"-I{folder}", f"-I{Path(protoc.__file__).parent / '_proto'}", "--include_imports",
                        f"--descriptor_set_out={out}", "payment.proto"]) == 0  # fmt: skip
    pool = DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file:
        pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(message))


def prefix(schema_id: int) -> bytes:
    return struct.pack(">bI", 0, schema_id)


def avro(schema: Any, value: Any) -> bytes:
    body = io.BytesIO()
    schemaless_writer(body, parse_schema(schema), value)
    return body.getvalue()


@pytest.fixture(scope="module")
def producers(running_registry: Apicurio, tmp_path_factory) -> Producers:
    client = running_registry.client
    kind = generated(tmp_path_factory.mktemp("proto"), PROTOBUF, "bank.Payment")
    to_avro = AvroSerializer(client, json.dumps(AVRO), conf=TOPIC_SUBJECTS)
    to_protobuf = ProtobufSerializer(kind, client, TOPIC_SUBJECTS)
    compiled = SerializationContext("compiled", MessageField.VALUE)
    as_text = prefix(running_registry.register("text-value", PROTOBUF, "PROTOBUF")) + b"\x02\x02"  # the second message
    as_json = prefix(running_registry.register("json-value", JSON_SCHEMA, "JSON"))

    def message(payment: dict[str, Any]) -> Message:
        return kind(**payment | {"amount": float(payment["amount"])})

    def plain(payment: dict[str, Any]) -> bytes:
        text = payment["timestamp"].isoformat()
        return orjson.dumps(payment | {"amount": str(payment["amount"]), "timestamp": text})

    return Producers(
        lambda payment: to_avro(dict.fromkeys([*OPTIONAL, "latitude", "longitude"]) | payment, VALUE),
        lambda payment: as_text + message(payment).SerializeToString(),
        lambda payment: to_protobuf(message(payment), compiled),
        lambda payment: as_json + plain(payment),
    )


@pytest.fixture(scope="module")
def settings(running_registry: Apicurio, tmp_path_factory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"), schema_registry_url=running_registry.url)


def decode(value: bytes, open_message: OpenMessage) -> Decoded:
    noon_ms = int(NOON.timestamp() * 1000)
    return decode_transactions([value], [0], [0], [noon_ms], ReadingRules(0, None, open_message))


def refusal(value: bytes, open_message: OpenMessage) -> tuple[str, str]:
    (found,) = decode(value, open_message).refusals
    return found.kind, found.reason


def test_a_payment_means_the_same_in_every_format(producers: Producers, settings: Settings):
    reader = opener(settings)

    @given(PAYMENTS)
    def same(payment: dict[str, Any]) -> None:
        values = [produce(payment) for produce in producers]
        plain, *others = (decode(value, reader) for value in [producers.json(payment)[5:], *values])
        assert plain.refusals == [] and plain.ignored == {}
        assert len(plain.transactions) == 1
        for other in others:
            assert other.refusals == []
            assert other.transactions.equals(plain.transactions), (other.transactions, plain.transactions)

    same()


@pytest.mark.parametrize(
    ("kind", "written", "read"),
    [
        ({"type": "long", "logicalType": "timestamp-micros"}, NOON, "2026-01-31T12:00:00+00:00"),
        ({"type": "long", "logicalType": "local-timestamp-millis"}, datetime(2026, 1, 31, 12), "2026-01-31T12:00:00"),
        ({"type": "int", "logicalType": "date"}, date(2026, 1, 31), "2026-01-31"),
        ({"type": "string", "logicalType": "uuid"}, UUID(int=7), str(UUID(int=7))),
        (DECIMAL, Decimal("-1.250"), "-1.250"),
        ("bytes", b"card-1", "card-1"),
        ("bytes", b"\xff\xfe\x00", b"\xff\xfe\x00"),
        (["null", "long", "string"], 4711, 4711),
        (["null", "long", "string"], None, None),
        (["null", {"type": "enum", "name": "E", "symbols": ["A", "B"]}], "B", "B"),
        ("float", 20.5, 20.5),
        ({"type": "map", "values": "string"}, {"a": "b"}, {"a": "b"}),
    ],
)
def test_values_of_avro_become_those_that_json_has(registry: Apicurio, settings, kind, written, read):
    schema = {"type": "record", "name": "P", "fields": [{"name": "x", "type": kind}]}
    schema_id = registry.register(f"avro-{abs(hash(str(kind)))}", json.dumps(schema), "AVRO")
    assert opener(settings)(prefix(schema_id) + avro(schema, {"x": written})) == {"x": read}


def test_what_proto3_does_not_send_is_missing_but_for_an_amount_and_a_verdict(registry: Apicurio, settings, tmp_path):
    text = (
        'syntax = "proto3"; message P { double amount = 1; bool is_fraud = 2; double latitude = 3; bytes user_id = 4; }'
    )
    schema_id = registry.register("zero-value", text, "PROTOBUF")
    assert opener(settings)(prefix(schema_id) + b"\0\x22\x01u") == {"amount": 0, "is_fraud": False, "user_id": "u"}


def test_schemas_that_import_others_are_read(registry: Apicurio, settings):
    part = {"type": "record", "name": "Money", "namespace": "bank", "fields": [{"name": "amount", "type": "long"}]}
    registry.register("bank.Money", json.dumps(part), "AVRO")
    schema = {"type": "record", "name": "P2", "namespace": "bank", "fields": [{"name": "paid", "type": "bank.Money"}]}
    reference = [SchemaReference("bank.Money", "bank.Money", 1)]
    schema_id = registry.register("refers-value", json.dumps(schema), "AVRO", reference)
    assert opener(settings)(prefix(schema_id) + b"\x04") == {"paid": {"amount": 2}}
    registry.register("ids", 'syntax = "proto3"; package bank; message Id { string text = 1; }', "PROTOBUF")
    imports = 'import "bank/id.proto"; import "google/type/money.proto";'
    text = f'syntax = "proto3"; package bank; {imports} message P {{ Id id = 1; }}'
    schema_id = registry.register("imports-value", text, "PROTOBUF", [SchemaReference("bank/id.proto", "ids", 1)])
    assert opener(settings)(prefix(schema_id) + b"\0\x0a\x03\x0a\x01t") == {"id": {"text": "t"}}


def test_labels_are_read_as_payments_are(registry: Apicurio, settings):
    fields = {"transaction_id": "string", "is_fraud": "boolean", "source": "string", "label_time": "long"}
    schema = {"type": "record", "name": "L", "fields": [{"name": n, "type": kind} for n, kind in fields.items()]}
    schema_id = registry.register("fraud_feedback-value", json.dumps(schema), "AVRO")
    label = {"transaction_id": "t", "is_fraud": False, "source": "bank", "label_time": 1_769_860_800_123}
    value = prefix(schema_id) + avro(schema, label)
    found, refusals = decode_feedback([value, b"{}"], [0, 0], [0, 1], None, opener(settings))
    assert found.rows() == [("t", False, "bank", 1_769_860_800_123, 0, 0)]
    assert [refused.kind for refused in refusals] == ["schema"]
    _, (refused,) = decode_feedback([value], [0], [0])
    assert refused.kind == "schema registry"


def test_without_the_setting_the_refusal_names_it_and_the_schema():
    kind, reason = refusal(prefix(17) + b"x", open_message)
    assert kind == "schema registry"
    assert "schema 17" in reason and "FRAUD_SCHEMA_REGISTRY_URL" in reason


def test_a_schema_that_the_registry_does_not_have_is_a_refusal_of_its_own(registry: Apicurio, settings):
    for reader in (opener(settings), opener(settings, known=())):
        kind, reason = refusal(prefix(2**31) + b"x", reader)
        assert kind == "unknown schema"
        assert str(2**31) in reason and "dead-letters replay" in reason


@given(st.binary(min_size=1, max_size=40))
def test_bytes_that_do_not_fit_a_schema_are_refused_or_read_and_stop_nothing(producers, settings, body):
    reader = opener(settings)
    for produce in producers:
        head = produce(PLAIN)[:5]
        decoded = decode(head + body, reader)
        assert len(decoded.refusals) + len(decoded.transactions) == 1
    assert refusal(producers.avro(PLAIN)[:-4], reader)[0] == "schema mismatch"
    assert refusal(producers.protobuf(PLAIN)[:5] + b"\x02\x20" + body, reader)[0] == "schema mismatch"


def test_a_debezium_envelope_in_avro_is_named_as_one(registry: Apicurio, settings):
    fields = [{"name": "op", "type": "string"}, {"name": "after", "type": ["null", "string"]}]
    schema = {"type": "record", "name": "Envelope", "fields": fields}
    schema_id = registry.register("cdc-value", json.dumps(schema), "AVRO")
    kind, _ = refusal(prefix(schema_id) + avro(schema, {"op": "c", "after": "x"}), opener(settings))
    assert kind == "Debezium envelope"


def test_an_id_in_a_record_header_is_refused_by_name():
    kind, reason = refusal(avro(AVRO, PLAIN), open_message)
    assert kind == "not JSON"
    assert "record header" in reason


def test_known_schemas_are_read_while_the_registry_is_down_and_others_are_not_refused(running_registry, tmp_path):
    registry = running_registry
    registry.start()
    settings = Settings(home=tmp_path, schema_registry_url=registry.url)
    schema = {"type": "record", "name": "P", "fields": [{"name": "x", "type": "long"}]}
    schema_id = registry.register("down-value", json.dumps(schema), "AVRO")
    value = prefix(schema_id) + b"\x02"
    reader = opener(settings)
    assert reader(value) == {"x": 1}
    try:
        registry.kill()
        for kept in (reader, opener(settings), pickle.loads(pickle.dumps(reader))):
            assert kept(value) == {"x": 1}
        with pytest.raises(RegistryUnavailableError, match="does not answer"):
            reader(prefix(schema_id + 1) + b"\x02")
    finally:
        registry.start()
    # Of another registry the ids mean other schemas.
    other = Settings(home=tmp_path, schema_registry_url=registry.url + "/")
    with pytest.raises(EnvelopeError) as refused:
        opener(other)(value)
    assert refused.value.kind == "unknown schema"


def test_an_address_that_is_no_registry_is_an_error_of_the_operator_and_shows_no_password(registry, tmp_path):
    address = registry.url.replace("/apis/ccompat/v7", "").replace("://", "://bank:secret@")
    with pytest.raises(OperatorError, match="FRAUD_SCHEMA_REGISTRY_URL") as refused:
        opener(Settings(home=tmp_path, schema_registry_url=address))(prefix(1) + b"x")
    assert not isinstance(refused.value, RegistryUnavailableError)
    assert "secret" not in str(refused.value)


def test_json_beside_it_takes_the_way_it_always_took(settings):
    assert opener(settings)(b'{"a": 1}') == {"a": 1}
    assert reading_rules(settings) == settings.reading_rules
    assert reading_rules(Settings()).open_message is open_message
    assert pl.DataFrame(decode(b"{}", opener(settings)).transactions).is_empty()


def test_the_lake_reads_what_the_stream_reads_in_workers_of_spark(producers: Producers, settings):
    rules = cloudpickle.loads(cloudpickle.dumps(reading_rules(settings)))
    plain = producers.json(PLAIN)[5:]
    values = [plain, *(produce(PLAIN) for produce in producers), prefix(2**31) + b"x", prefix(2**31) + b"y"]
    n = len(values)
    columns = {
        "value": pa.array(values, pa.binary()),
        "partition": pa.array([0] * n, pa.int32()),
        "offset": pa.array(range(n), pa.int64()),
        "ingest_time_ms": pa.array([int(NOON.timestamp() * 1000)] * n, pa.int64()),
    }
    batch = pa.RecordBatch.from_pydict(columns)
    rows = pl.from_arrow(pa.Table.from_batches(decode_batches(iter([batch]), rules)))
    assert rows["refusal"].to_list() == [None] * 5 + ["unknown schema"] * 2
    assert rows[:5].drop("offset").n_unique() == 1
