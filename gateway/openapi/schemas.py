"""JSON Schemas of our messages, as the transcoder of Envoy reads and writes them."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    EnumValueDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
)
from paradrop.type.v1 import schema_pb2

from gateway.comments import (
    FILE_ENUM,
    FILE_MESSAGE,
    MESSAGE_ENUM,
    MESSAGE_FIELD,
    MESSAGE_NESTED,
    Path,
    comments_of,
)
from services.common.paging import MAX_PAGE_SIZE

Schema = dict[str, Any]

ANY_JSON: Schema = {}
INT32_MIN, INT32_MAX, UINT32_MAX = -(2**31), 2**31 - 1, 2**32 - 1

_F = FieldDescriptorProto
_INT32: Schema = {"type": "integer", "format": "int32", "minimum": INT32_MIN, "maximum": INT32_MAX}
_UINT32: Schema = {"type": "integer", "format": "uint32", "minimum": 0, "maximum": UINT32_MAX}
# JSON numbers are doubles for most readers: 64 bits travel as text.
_INT64: Schema = {"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"}

SCALARS: dict[int, Schema] = {
    _F.TYPE_DOUBLE: {"type": "number", "format": "double"},
    _F.TYPE_FLOAT: {"type": "number", "format": "float"},
    _F.TYPE_BOOL: {"type": "boolean"},
    _F.TYPE_STRING: {"type": "string"},
    _F.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    **{kind: _INT32 for kind in (_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32)},
    **{kind: _UINT32 for kind in (_F.TYPE_UINT32, _F.TYPE_FIXED32)},
    **{kind: _INT64 for kind in (_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64)},
    **{kind: _INT64 for kind in (_F.TYPE_UINT64, _F.TYPE_FIXED64)},
}

# 0 stands for the default.
PAGE_SIZE: Schema = {"type": "integer", "minimum": 0, "maximum": MAX_PAGE_SIZE}

WELL_KNOWN: dict[str, Schema] = {
    ".google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    ".google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?s$"},
    ".google.protobuf.Struct": {"type": "object"},
    ".google.protobuf.Value": ANY_JSON,
    ".google.protobuf.ListValue": {"type": "array"},
    ".google.protobuf.Empty": {"type": "object"},
    ".google.protobuf.Any": {"type": "object"},
    ".google.rpc.Status": {"$ref": "#/components/schemas/Error"},
}

ERROR: Schema = {
    "type": "object",
    "description": "What went wrong. Decide by the `reason` of the first detail; it is stable.",
    "required": ["code", "message", "details"],
    "properties": {
        "code": {"type": "integer", "description": "Canonical gRPC code, such as 5 for NOT_FOUND."},
        "message": {"type": "string", "description": "What happened and what to do next, for people."},
        "details": {
            "type": "array",
            "description": "An ErrorInfo with `reason` and `metadata`; then, where they apply, a "
            "BadRequest with `fieldViolations` and a RetryInfo with `retryDelay`.",
            "items": {"type": "object", "required": ["@type"], "properties": {"@type": {"type": "string"}}},
        },
    },
}


class Schemas:
    """Finds messages and enums, and remembers which of them the document needs."""

    def __init__(self, files: FileDescriptorSet) -> None:
        self._messages: dict[str, tuple[DescriptorProto, Path, Mapping[Path, str]]] = {}
        self._enums: dict[str, tuple[EnumDescriptorProto, Path, Mapping[Path, str]]] = {}
        self._wanted: dict[str, str] = {}
        for file in files.file:
            comments = comments_of(file)
            for index, message in enumerate(file.message_type):
                self._index(f".{file.package}", message, (FILE_MESSAGE, index), comments)
            for index, enum in enumerate(file.enum_type):
                self._enums[f".{file.package}.{enum.name}"] = (enum, (FILE_ENUM, index), comments)

    def _index(self, scope: str, message: DescriptorProto, path: Path, comments: Mapping[Path, str]) -> None:
        name = f"{scope}.{message.name}"
        self._messages[name] = (message, path, comments)
        for index, nested in enumerate(message.nested_type):
            self._index(name, nested, (*path, MESSAGE_NESTED, index), comments)
        for index, enum in enumerate(message.enum_type):
            self._enums[f"{name}.{enum.name}"] = (enum, (*path, MESSAGE_ENUM, index), comments)

    def message(self, type_name: str) -> DescriptorProto:
        """Returns a message by its full name with a leading dot."""
        return self._messages[type_name][0]

    def reference(self, type_name: str) -> Schema:
        """Returns the schema of a message or an enum, most often a reference to a component."""
        known = WELL_KNOWN.get(type_name)
        if known is not None:
            return dict(known)
        name = component_name(type_name)
        self._wanted[type_name] = name
        return {"$ref": f"#/components/schemas/{name}"}

    def components(self) -> dict[str, Schema]:
        """Returns the schemas of all that was referred to, by name."""
        made: dict[str, Schema] = {"Error": ERROR}
        while missing := {t: n for t, n in self._wanted.items() if n not in made}:
            for type_name, name in missing.items():
                made[name] = self._enum(type_name) if type_name in self._enums else self.object(type_name)
        return dict(sorted(made.items()))

    def object(
        self, type_name: str, wanted: Callable[[FieldDescriptorProto], bool] = lambda _: True
    ) -> Schema:
        """Returns the object that a message becomes, with the wanted fields."""
        message, path, comments = self._messages[type_name]
        properties: dict[str, Schema] = {}
        required: list[str] = []
        for index, field in enumerate(message.field):
            if wanted(field):
                comment = comments.get((*path, MESSAGE_FIELD, index), "")
                properties[field.json_name] = self.described(self.field(field), comment)
                if is_required(field):
                    required.append(field.json_name)
        schema: Schema = {"type": "object", "properties": properties}
        if required:
            schema["required"] = required
        return self.described(schema, comments.get(path, ""))

    def request(
        self, type_name: str, wanted: Callable[[FieldDescriptorProto], bool] = lambda _: True
    ) -> Schema:
        """Returns the object that a message may be in a request, where null is the same as nothing."""
        schema = self.object(type_name, wanted)
        properties: dict[str, Schema] = {}
        for field in filter(wanted, self._messages[type_name][0].field):
            value = schema["properties"][field.json_name]
            known = field.type_name in WELL_KNOWN or self._map_entry(field)
            if field.type_name in self._messages and not known:
                inner = self.request(field.type_name)
                is_list = field.label == FieldDescriptorProto.LABEL_REPEATED
                value = {"type": "array", "items": inner} if is_list else inner
            properties[field.json_name] = value if is_required(field) else _or_null(value)
        return schema | {"properties": properties}

    def field(self, field: FieldDescriptorProto) -> Schema:
        """Returns the schema of a field."""
        entry = self._map_entry(field)
        if entry is not None:
            return {"type": "object", "additionalProperties": self.value(entry.field[1])}
        value = self.value(field)
        if field.label == FieldDescriptorProto.LABEL_REPEATED:
            return {"type": "array", "items": value}
        return value

    def field_comment(self, type_name: str, name: str) -> str:
        """Returns the comment of a field of a message."""
        message, path, comments = self._messages[type_name]
        index = next(index for index, field in enumerate(message.field) if field.name == name)
        return comments.get((*path, MESSAGE_FIELD, index), "")

    def value(self, field: FieldDescriptorProto) -> Schema:
        """Returns the schema of one value of a field."""
        if field.name == "page_size":
            return PAGE_SIZE
        if field.type == _F.TYPE_ENUM and is_required(field):
            return {"enum": _values(self._enums[field.type_name][0].value[1:])}
        schema = self.reference(field.type_name) if field.type_name else SCALARS[field.type]
        more: Schema = json.loads(field.options.Extensions[schema_pb2.json_schema] or "{}")
        return schema | more

    def _map_entry(self, field: FieldDescriptorProto) -> DescriptorProto | None:
        if field.type_name not in self._messages:
            return None
        message = self._messages[field.type_name][0]
        return message if message.options.map_entry else None

    def _enum(self, type_name: str) -> Schema:
        enum, path, comments = self._enums[type_name]
        return self.described({"enum": _values(enum.value)}, comments.get(path, ""))

    @staticmethod
    def described(schema: Schema, comment: str) -> Schema:
        """Returns a schema with a comment of the protos as its description."""
        return {**schema, "description": comment} if comment else schema


def _values(values: Iterable[EnumValueDescriptorProto]) -> list[str | int]:
    """Returns the names of an enum's values, as they are written, and the numbers, which are read as well."""
    values = list(values)
    return [*(value.name for value in values), *(value.number for value in values)]


def _or_null(schema: Schema) -> Schema:
    if "type" in schema and isinstance(schema["type"], str):
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]} if schema else schema


def component_name(type_name: str) -> str:
    """Returns the name of a schema: ".paradrop.chutes.v1.Change.Failure" becomes "chutes.Change.Failure"."""
    parts = type_name.lstrip(".").split(".")
    return ".".join(part for part in parts if part not in ("paradrop", "v1"))


def is_required(field: FieldDescriptorProto) -> bool:
    """Tells whether a caller has to give a field."""
    behaviors = field.options.Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.REQUIRED in behaviors
