"""Reads YAML that strangers wrote: bounded, and into nothing but plain JSON values."""

import math
import re
from collections.abc import Mapping
from typing import Any

import yaml

from services.common.errors import InvalidArgument

CHUTE_FILE = "paradrop.yaml"
MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_NODES = 10_000
MAX_INTEGER = 2**53
"""Above it, readers of JSON lose digits."""

MAX_MESSAGE_CHARACTERS = 500
MAX_FIELD_CHARACTERS = 160

_TEXT_TAGS = (None, "!", "tag:yaml.org,2002:str")
_KEPT_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("bool", "null", "merge")}
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def invalid(message: str, field: str | None = None, reason: str = "CHUTE_FILE_INVALID") -> InvalidArgument:
    """Returns the error for something that is wrong in paradrop.yaml.

    Errors travel in headers, which have little room for what strangers write.
    """
    return InvalidArgument(
        f"{CHUTE_FILE}: {message[:MAX_MESSAGE_CHARACTERS]}",
        reason=reason,
        field=(field or CHUTE_FILE)[:MAX_FIELD_CHARACTERS],
    )


class _Loader(_SafeLoader):  # type: ignore[misc]
    """Knows texts, numbers, booleans and null: dates, 1:30 and 010 are texts, not surprises."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (the SDK's own way)
        first: [(tag, pattern) for tag, pattern in resolvers if tag in _KEPT_TAGS]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys: set[tuple[str, str]] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in keys:
                raise invalid(f"the key {key.value!r} in line {key.start_mark.line + 1} is there twice.")
            keys.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17}|0x[0-9a-fA-F]{1,15})$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:[0-9]{1,40}\.[0-9]{0,40}|\.[0-9]{1,40})(?:[eE][-+]?[0-9]{1,3})?$"),
    list("-+.0123456789"),
)


def load_mapping(content: bytes) -> dict[str, Any]:
    """Returns the mapping that a YAML file holds, or raises InvalidArgument."""
    if len(content) > MAX_BYTES:
        raise invalid(f"it is larger than {MAX_BYTES} bytes; a chute is described in far fewer.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise invalid(f"byte {error.start} is not UTF-8; save the file as UTF-8.") from None
    try:
        _check_size(text)
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 (a safe loader made safer)
    except yaml.YAMLError as error:
        raise invalid(f"it is not valid YAML: {_brief(error)}") from None
    except (ValueError, RecursionError):
        raise invalid("it is not valid YAML.") from None
    if not isinstance(document, dict):
        raise invalid("it must be a mapping such as 'name: hello-world', not a list or a single value.")
    return plain_mapping(document)


def plain_mapping(document: Mapping[Any, Any]) -> dict[str, Any]:
    """Returns a mapping as JSON knows it: finite numbers, texts without NUL, keys that are texts."""
    return {_key(key, ""): _plain(value, _key(key, "")) for key, value in document.items()}


def _check_size(text: str) -> None:
    """Counts everything as often as aliases repeat it, before anything is built of it."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    total = 0
    for event in yaml.parse(text, Loader=_SafeLoader):
        if isinstance(event, yaml.NodeEvent):
            total += _size(event, sizes)
            if total > MAX_NODES:
                raise invalid(f"it holds more than {MAX_NODES} values; leave out what repeats itself.")
        if isinstance(event, yaml.ScalarEvent) and event.anchor:
            sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, total))
            sizes.pop(event.anchor or "", None)
            if len(open_nodes) > MAX_DEPTH:
                raise invalid(f"line {_line(event)} is nested deeper than {MAX_DEPTH} levels.")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = total - before + 1


def _size(event: Any, sizes: dict[str, int]) -> int:
    if isinstance(event, yaml.AliasEvent):
        if event.anchor not in sizes:
            raise invalid(
                f"the alias *{event.anchor} in line {_line(event)} means nothing that came before it."
            )
        return sizes[event.anchor]
    if event.tag not in _TEXT_TAGS:
        raise invalid(f"the tag {event.tag} in line {_line(event)} is not supported; leave it out.")
    return 1


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _brief(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    mark = getattr(error, "problem_mark", None)
    where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{problem}{where}."


def _plain(value: object, field: str) -> Any:
    """Returns a value as JSON knows it."""
    if isinstance(value, dict):
        return {_key(key, field): _plain(item, f"{field}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, f"{field}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise invalid(f"{field} is a number beyond {MAX_INTEGER}; write it in quotes.", field)
    if isinstance(value, float) and not math.isfinite(value):
        raise invalid(f"{field} is not a finite number; write it in quotes.", field)
    if isinstance(value, str):
        return _text(value, field)
    return value


def _key(key: object, field: str) -> str:
    if isinstance(key, bool) or not isinstance(key, str | int):
        where = f" in {field}" if field else ""
        raise invalid(f"the key {key!r}{where} must be a text; write it in quotes.", field or None)
    return _text(str(key), field)


def _text(text: str, field: str) -> str:
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise invalid(f"{field} holds a character that is no text.", field)
    return text
