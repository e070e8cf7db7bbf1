"""Reads changes that are given as documents, and refuses whatever they hold that is not understood."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

from google.protobuf import struct_pb2

from services.chutes.domain.change import NODE_NAME
from services.chutes.domain.demands import read_environment
from services.chutes.domain.manager import Command
from services.chutes.domain.spec import Definition
from services.chutes.rpc.documents import FIELD, read_description, told_of_config
from services.common.documents import from_struct
from services.common.errors import InvalidArgument

COMMANDS: tuple[Command, ...] = get_args(Command)
INSTALLS = ("create", "update")

SERVER_KEYS = ("tok", "change_id", "user")
"""Keys that only the node itself decides."""

COMMON_KEYS = ("updateClass", "updateType", "name")
INSTALL_FIELD = f"change.{FIELD}"
"""Where the description of a chute is in the request."""


@dataclass(frozen=True, slots=True)
class WantedChange:
    """A change of a chute that was asked for by a document."""

    command: Command
    chute: str
    environment: Mapping[str, str] | None
    force: bool = False
    keep_data: bool = False


@dataclass(frozen=True, slots=True)
class WantedInstall:
    """A chute to install that was asked for by a document."""

    definition: Definition
    replace: bool
    force: bool = False
    keep_data: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class WantedNodeChange:
    """A change of the node itself that was asked for by a document."""

    type: str
    payload: Mapping[str, Any]
    """The keys that only this type has."""
    force: ClassVar[bool] = False
    keep_data: ClassVar[bool] = False


Wanted = WantedChange | WantedInstall | WantedNodeChange


def read_change(struct: struct_pb2.Struct, node_types: Sequence[str] = ()) -> Wanted:
    """Returns what a document asks for, or raises what is wrong with it."""
    document = from_struct(struct)
    update_class, update_type = (_text(document, key) for key in ("updateClass", "updateType"))
    if update_class not in ("CHUTE", "ROUTER"):
        raise _wrong("updateClass", f'must be "CHUTE" or "ROUTER", not {update_class!r}')
    if update_class == "ROUTER" and update_type in node_types:
        return _read_node_change(document, update_type)
    if update_class == "CHUTE" and update_type in INSTALLS:
        return _read_install(document, update_type)
    command = next((name for name in COMMANDS if update_class == "CHUTE" and name == update_type), None)
    if command is None:
        known = sorted((*COMMANDS, *INSTALLS) if update_class == "CHUTE" else node_types)
        raise _wrong("updateType", f"must be one of {', '.join(known)}, not {update_type!r}")
    more = [
        *(["environment"] if command in ("start", "restart") else []),
        *(["force"] if command != "start" else []),
        *(["keep_data"] if command == "delete" else []),
    ]
    _refuse_others(document, command, *more)
    return WantedChange(
        command,
        _text(document, "name"),
        _environment(document.get("environment")),
        _flag(document, "force"),
        _flag(document, "keep_data"),
    )


def _read_install(document: Mapping[str, Any], update_type: str) -> WantedInstall:
    replace = update_type == "update"
    _refuse_others(document, update_type, FIELD, "download", *(["force"] if replace else []))
    name = _text(document, "name") if "name" in document else None
    config = document.get(FIELD, {})
    if not isinstance(config, dict):
        raise _wrong(FIELD, "must be an object, the description of the chute")
    if "download" in document:
        if "download" in config:
            raise _wrong("download", f"is in {FIELD} as well; leave out one of them")
        config = {**config, "download": document["download"]}
    force = _flag(document, "force")
    with told_of_config(INSTALL_FIELD):
        return WantedInstall(read_description(config, name), replace, force)


def _refuse_others(document: Mapping[str, Any], update_type: str, *more: str) -> None:
    allowed = (*COMMON_KEYS, *more)
    for key in document:
        if key not in allowed:
            who = "is decided by the node" if key in SERVER_KEYS else "is not known"
            raise _wrong(key, f"{who}; the type {update_type} takes {', '.join(allowed)}")


def _read_node_change(document: Mapping[str, Any], update_type: str) -> WantedNodeChange:
    # The original's own tools write both.
    if document.get("name", NODE_NAME) not in (NODE_NAME, "PARADROP"):
        raise _wrong("name", f"of a ROUTER change must be {NODE_NAME}")
    for key in SERVER_KEYS:
        if key in document:
            raise _wrong(key, "is decided by the node")
    payload = {key: value for key, value in document.items() if key not in COMMON_KEYS}
    return WantedNodeChange(update_type, payload)


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
    if not isinstance(value, dict) or any(isinstance(item, dict | list) for item in value.values()):
        raise _wrong("environment", "must be an object of texts, numbers and booleans")
    return read_environment(value)


def _wrong(key: str, what: str) -> InvalidArgument:
    return InvalidArgument(f"{key} {what}.", reason="CHANGE_INVALID", field=f"change.{key}")
