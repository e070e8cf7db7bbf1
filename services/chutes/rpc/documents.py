"""Reads descriptions of chutes that came as JSON and not as a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from google.protobuf import json_format, struct_pb2

from services.chutes.domain.chutefile import read_definition
from services.chutes.domain.chuteschema import SCHEMA
from services.chutes.domain.chuteyaml import CHUTE_FILE, plain_mapping
from services.chutes.domain.errors import chute_name_mismatch, config_missing
from services.chutes.domain.spec import Definition
from services.common.errors import DomainError

FIELD = "config"
"""Field of the requests that holds the description."""


def read_install(config: struct_pb2.Struct, chute: str | None = None) -> Definition:
    """Returns what a description means; `chute` is the name that it must have and need not repeat."""
    if not config.fields:
        raise config_missing()
    document = plain_mapping(to_mapping(config))
    if chute is not None:
        document.setdefault("name", chute)
    definition = read_definition(document)
    if chute not in (None, definition.spec.name):
        raise chute_name_mismatch(definition.spec.name, chute or "")
    return definition


def to_mapping(config: struct_pb2.Struct) -> dict[str, Any]:
    """Returns a JSON object: keys in the order of the alphabet, as theirs is lost; whole numbers as such."""
    document: dict[str, Any] = _plain(json_format.MessageToDict(config))
    return document


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@contextmanager
def told_of_config() -> Iterator[None]:
    """Lets errors name the fields of the request and not of a file."""
    try:
        yield
    except DomainError as error:
        if error.field not in (None, "chute") and error.reason != "CONFIG_MISSING":
            error.field = _field(error.field)
            error.violations = [(_field(field), why) for field, why in error.violations]
            error.args = (str(error).removeprefix(f"{CHUTE_FILE}: "),)
        raise


def _field(field: str | None) -> str:
    return FIELD if field in (None, CHUTE_FILE) else f"{FIELD}.{field}"


@cache
def schema() -> struct_pb2.Struct:
    """Returns the published schema."""
    struct = struct_pb2.Struct()
    struct.update(SCHEMA)
    return struct
