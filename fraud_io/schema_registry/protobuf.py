"""Protobuf messages without generated classes: their schema is compiled when one comes."""

import base64
import binascii
import io
import tempfile
from functools import cache
from importlib import import_module, resources
from pathlib import Path
from typing import Any, cast

from confluent_kafka.schema_registry import Schema
from confluent_kafka.schema_registry.serde import SchemaId
from google.protobuf import descriptor_pb2, json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_tools import protoc

from fraud_io.schema_registry.schemas import Schemas

# Without presence proto3 does not send a 0: of these it is a value, of any other field it says nothing.
_ZERO_IS_A_VALUE = ("amount", "is_fraud")
_FILE = "message_of_the_registry.proto"
# What registries let a schema import without a reference, beside what protoc itself knows.
_BUILT_IN = (
    "confluent_kafka.schema_registry.confluent.meta_pb2",
    "confluent_kafka.schema_registry.confluent.type.decimal_pb2",
    "confluent_kafka.schema_registry.confluent.types.decimal_pb2",
    "google.type.money_pb2",
    "google.type.decimal_pb2",
    "google.type.datetime_pb2",
    "google.type.date_pb2",
    "google.type.timeofday_pb2",
    "google.type.latlng_pb2",
)


class ProtobufMessages:
    """Decodes messages by ``schemas``, and keeps what it has compiled."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._files: dict[int, tuple[DescriptorPool, str]] = {}

    def decode(self, schema_id: int, value: bytes) -> dict[str, object]:
        """Fields by their names in the schema. Raises what a schema or value that is none leads to."""
        place = SchemaId("PROTOBUF")
        body = place.from_bytes(io.BytesIO(value)).read()
        if schema_id not in self._files:
            self._files[schema_id] = self._compiled(self._schemas.get_schema(schema_id))
        pool, name = self._files[schema_id]
        kind, *nested = place.message_indexes or [0]
        found = _at(list(pool.FindFileByName(name).message_types_by_name.values()), kind)
        for index in nested:
            found = _at(found.nested_types, index)
        message = GetMessageClass(found)()
        message.ParseFromString(body)
        return _fields(message)

    def _compiled(self, schema: Schema) -> tuple[DescriptorPool, str]:
        pool = DescriptorPool()
        with tempfile.TemporaryDirectory(prefix="schemas-") as folder:
            files = self._written(schema, _FILE, Path(folder))
            for file in _compile(Path(folder), files):
                pool.Add(file)
        return pool, _FILE

    def _written(self, schema: Schema, name: str, folder: Path) -> dict[str, descriptor_pb2.FileDescriptorProto]:
        """The schema and what it refers to below ``folder``, as texts; those that a producer registered compiled are
        returned."""
        compiled: dict[str, descriptor_pb2.FileDescriptorProto] = {}
        for reference in schema.references or ():
            subject, version = cast(str, reference.subject), cast(int, reference.version)
            of_reference = self._schemas.get_version(subject, version, True).schema
            compiled |= self._written(of_reference, cast(str, reference.name), folder)
        text = schema.schema_str or ""
        try:
            compiled[name] = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
            compiled[name].name = name
        except (binascii.Error, ValueError):
            path = (folder / name).resolve()
            if not path.is_relative_to(folder.resolve()):
                raise ValueError(f"{name} is no name of an import") from None
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return compiled


def _at(kinds: list[Descriptor], index: int) -> Descriptor:
    if not 0 <= index < len(kinds):
        raise ValueError(f"its schema has no message number {index}")
    return kinds[index]


def _compile(
    folder: Path, compiled: dict[str, descriptor_pb2.FileDescriptorProto]
) -> list[descriptor_pb2.FileDescriptorProto]:
    """All files that _FILE needs, imports first."""
    known, made = folder / "known.binpb", folder / "made.binpb"
    given = descriptor_pb2.FileDescriptorSet(file=[*_built_in().values(), *compiled.values()])
    known.write_bytes(given.SerializeToString())
    standard = resources.files("grpc_tools") / "_proto"
    options = [f"--proto_path={folder}", f"--proto_path={standard}", f"--descriptor_set_in={known}"]
    if protoc.main(["protoc", *options, "--include_imports", f"--descriptor_set_out={made}", _FILE]):
        raise ValueError("its schema, or one that it imports, is no Protobuf that can be compiled")
    return list(descriptor_pb2.FileDescriptorSet.FromString(made.read_bytes()).file)


@cache
def _built_in() -> dict[str, descriptor_pb2.FileDescriptorProto]:
    found: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def add(file: Any) -> None:
        for imported in file.dependencies:
            add(imported)
        found.setdefault(file.name, descriptor_pb2.FileDescriptorProto.FromString(file.serialized_pb))

    for name in _BUILT_IN:
        add(import_module(name).DESCRIPTOR)
    return found


def _fields(message: Message) -> dict[str, object]:
    """Whole numbers stay numbers, unlike in Protobuf's own JSON; times and wrapped values are what they are there."""
    fields: dict[str, object] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if message.HasField(field.name) if field.has_presence else (value or field.name in _ZERO_IS_A_VALUE):
            fields[field.name] = _value(field, value)
    return fields


def _value(field: FieldDescriptor, value: Any) -> object:
    if isinstance(value, Message):
        return json_format.MessageToDict(value, preserving_proto_field_name=True)
    if field.enum_type is not None and isinstance(value, int):
        named = field.enum_type.values_by_number.get(value)
        return named.name if named else value
    return value
