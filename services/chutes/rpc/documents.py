"""Reads descriptions of chutes that came as JSON and not as a file."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from google.protobuf import json_format, struct_pb2

from services.chutes.domain.chutefile import read_definition
from services.chutes.domain.chuteschema import schema_text
from services.chutes.domain.chuteyaml import CHUTE_FILE, plain_mapping
from services.chutes.domain.errors import chute_name_mismatch, config_missing
from services.chutes.domain.spec import Definition
from services.common.errors import InvalidArgument

FIELD = "config"
"""Field of the requests that holds the description."""


def read_install(config: struct_pb2.Struct, chute: str | None = None) -> Definition:
    """Returns what a description means; `chute` is the name that it must have and need not repeat."""
    with told_of_config():
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
    """Returns a JSON object, with whole numbers as such."""
    document: dict[str, Any] = json_format.MessageToDict(config)
    return document


@contextmanager
def told_of_config() -> Iterator[None]:
    """Lets errors name the fields of the request and not of a file."""
    try:
        yield
    except InvalidArgument as error:
        if error.reason == "CONFIG_MISSING" or not str(error).startswith(f"{CHUTE_FILE}: "):
            raise
        told = InvalidArgument(
            str(error).replace(f"{CHUTE_FILE}: ", "The description: ", 1),
            reason=error.reason,
            field=_field(error.field),
        )
        told.violations = [(_field(field), why) for field, why in error.violations]
        raise told from None


def _field(field: str | None) -> str:
    return FIELD if field in (None, CHUTE_FILE) else f"{FIELD}.{field}"


@cache
def schema() -> struct_pb2.Struct:
    """Returns the published schema."""
    struct = struct_pb2.Struct()
    struct.update(json.loads(schema_text()))
    return struct
