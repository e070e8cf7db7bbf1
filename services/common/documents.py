"""Translates JSON objects between the wire (google.protobuf.Struct) and the domain."""

from collections.abc import Mapping
from typing import Any

from google.protobuf import struct_pb2


def to_struct(document: Mapping[str, Any]) -> struct_pb2.Struct:
    """Returns a JSON object for the wire."""
    struct = struct_pb2.Struct()
    struct.update(document)
    return struct


def to_value(value: Any) -> struct_pb2.Value:
    """Returns any JSON value for the wire."""
    return to_struct({"value": value}).fields["value"]


def from_struct(struct: struct_pb2.Struct) -> dict[str, Any]:
    """Returns a JSON object of the wire: keys in the order of the alphabet, as theirs is lost.

    Whole numbers are integers again; infinite ones stay.
    """
    return {key: _from_value(struct.fields[key]) for key in sorted(struct.fields)}


def _from_value(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return from_struct(value.struct_value)
    if kind == "list_value":
        return [_from_value(item) for item in value.list_value.values]
    if kind is None or kind == "null_value":
        return None
    plain = getattr(value, kind)
    return int(plain) if kind == "number_value" and plain.is_integer() else plain


def bare(struct: struct_pb2.Struct) -> dict[str, Any]:
    """Returns a document that was sent bare or as {"config": document}."""
    document = from_struct(struct)
    inner = document.get("config")
    return inner if set(document) == {"config"} and isinstance(inner, dict) else document
