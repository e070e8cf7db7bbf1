"""Reads descriptions of chutes that came as JSON and not as a file."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from google.protobuf import struct_pb2

from services.chutes.domain.chutefile import read_definition
from services.chutes.domain.chuteschema import SCHEMA
from services.chutes.domain.chuteyaml import CHUTE_FILE, plain_mapping
from services.chutes.domain.errors import chute_name_mismatch, config_missing
from services.chutes.domain.spec import Definition
from services.common.documents import from_struct, to_struct
from services.common.errors import DomainError

FIELD = "config"
"""Field of the requests that holds the description."""


def read_install(config: struct_pb2.Struct, chute: str | None = None) -> Definition:
    """Returns what a description on the wire means; see `read_description`."""
    return read_description(from_struct(config), chute)


def read_description(config: Mapping[str, Any], chute: str | None = None) -> Definition:
    """Returns what a description means; `chute` is the name that it must have and need not repeat."""
    if not config:
        raise config_missing()
    document = plain_mapping(config)
    if chute is not None:
        document.setdefault("name", chute)
    definition = read_definition(document)
    if chute not in (None, definition.spec.name):
        raise chute_name_mismatch(definition.spec.name, chute or "")
    return definition


@contextmanager
def told_of_config(place: str = FIELD) -> Iterator[None]:
    """Lets errors name the fields of the request and not of a file; `place` is where the description is."""
    try:
        yield
    except DomainError as error:
        if error.field not in (None, "chute") and error.reason != "CONFIG_MISSING":
            error.field = _field(error.field, place)
            error.violations = [(_field(field, place), why) for field, why in error.violations]
            error.args = (str(error).removeprefix(f"{CHUTE_FILE}: "),)
        raise


def _field(field: str | None, place: str) -> str:
    return place if field in (None, CHUTE_FILE) else f"{place}.{field}"


@cache
def schema() -> struct_pb2.Struct:
    """Returns the published schema."""
    return to_struct(SCHEMA)
