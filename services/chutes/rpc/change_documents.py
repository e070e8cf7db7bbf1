"""Reads changes that are given as documents, and refuses whatever they hold that is not understood."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from google.protobuf import json_format, struct_pb2

from services.chutes.domain.change import NODE_NAME
from services.chutes.domain.manager import Command
from services.common.errors import DomainError, InvalidArgument, NotImplementedYet

COMMANDS: tuple[Command, ...] = get_args(Command)
LATER_TYPES: Mapping[str, tuple[str, ...]] = {
    "CHUTE": ("create", "update"),
    "ROUTER": (),
}
"""Types that exist and that this version does not do."""

SERVER_KEYS = ("tok", "change_id", "user")
"""Keys that only the node itself decides."""


COMMON_KEYS = ("updateClass", "updateType", "name")


@dataclass(frozen=True, slots=True)
class WantedChange:
    """A change of a chute that was asked for by a document."""

    command: Command
    chute: str
    environment: Mapping[str, str] | None
    force: bool = False
    keep_data: bool = False


@dataclass(frozen=True, slots=True)
class WantedNodeChange:
    """A change of the node itself that was asked for by a document."""

    type: str
    payload: Mapping[str, Any]
    """The keys that only this type has."""


def read_change(struct: struct_pb2.Struct, node_types: Sequence[str] = ()) -> WantedChange | WantedNodeChange:
    """Returns what a document asks for, or raises what is wrong with it."""
    document: dict[str, Any] = json_format.MessageToDict(struct)
    update_class, update_type = (_text(document, key) for key in ("updateClass", "updateType"))
    if update_class not in ("CHUTE", "ROUTER"):
        raise _wrong("updateClass", f'must be "CHUTE" or "ROUTER", not {update_class!r}')
    if update_class == "ROUTER" and update_type in node_types:
        return _read_node_change(document, update_type)
    command = next((name for name in COMMANDS if update_class == "CHUTE" and name == update_type), None)
    if command is None:
        raise _no_command(update_class, update_type, node_types)
    allowed = [*COMMON_KEYS]
    if command in ("start", "restart"):
        allowed.append("environment")
    if command != "start":
        allowed.append("force")
    if command == "delete":
        allowed.append("keep_data")
    for key in document:
        if key not in allowed:
            who = "is decided by the node" if key in SERVER_KEYS else "is not known"
            raise _wrong(key, f"{who}; a {command} change takes {', '.join(allowed)}")
    return WantedChange(
        command,
        _text(document, "name"),
        _environment(document.get("environment")),
        _flag(document, "force"),
        _flag(document, "keep_data"),
    )


def _read_node_change(document: Mapping[str, Any], update_type: str) -> WantedNodeChange:
    # The original's own tools write both.
    if document.get("name", NODE_NAME) not in (NODE_NAME, "PARADROP"):
        raise _wrong("name", f"of a ROUTER change must be {NODE_NAME}")
    for key in SERVER_KEYS:
        if key in document:
            raise _wrong(key, "is decided by the node")
    payload = {key: value for key, value in document.items() if key not in COMMON_KEYS}
    return WantedNodeChange(update_type, payload)


def _no_command(update_class: str, update_type: str, node_types: Sequence[str]) -> DomainError:
    if update_type in LATER_TYPES[update_class]:
        return NotImplementedYet(f"{update_class} changes of type {update_type} come with a later version.")
    now = COMMANDS if update_class == "CHUTE" else node_types
    known = sorted({*now, *LATER_TYPES[update_class]})
    return _wrong("updateType", f"must be one of {', '.join(known)}, not {update_type!r}")


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not value:
        raise _wrong(key, "must be a text that is not empty")
    return value


def _flag(document: Mapping[str, Any], key: str) -> bool:
    value = document.get(key, False)
    if not isinstance(value, bool):
        raise _wrong(key, "must be true or false")
    return value


def _environment(value: Any) -> Mapping[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise _wrong("environment", "must be an object of texts")
    return value


def _wrong(key: str, what: str) -> InvalidArgument:
    return InvalidArgument(f"{key} {what}.", reason="CHANGE_INVALID", field=f"change.{key}")
