"""Reads the sections of a chute file field by field; every refusal names the field."""

import difflib
import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from services.chutes.domain.chuteyaml import invalid
from services.chutes.domain.spec import PortBinding
from services.common.errors import NotImplementedYet

MAX_PORT = 65535
MAX_VARIABLES = 256
MAX_VALUE_CHARACTERS = 32 * 1024
MAX_TEXT_CHARACTERS = 4096
MAX_VERSION_CHARACTERS = 80
MAX_PORT_BINDINGS = 64

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_CONTAINER_PORT = re.compile(r"([0-9]{1,5})(?:/(tcp|udp|sctp))?")


def later(field: str, feature: str, instead: str = "leave it out") -> NotImplementedYet:
    """Returns the error for something that chutes may ask for, but not of this version."""
    return NotImplementedYet(
        f"paradrop.yaml: {field}: this version of Paradrop does not support {feature} yet; {instead}.",
        reason="CHUTE_FEATURE_NOT_AVAILABLE",
        field=field,
        feature=feature,
    )


class Section:
    """A mapping of the file in which only some keys are known."""

    def __init__(self, value: object, field: str, known: Collection[str] | None) -> None:
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise invalid(f"{field} must be a mapping of names to values.", field)
        self.field = field
        self.values: Mapping[str, Any] = value
        if known is not None:
            for key in value:
                if key not in known:
                    raise self._unknown(key, known)

    def _unknown(self, key: str, known: Collection[str]) -> Exception:
        near = difflib.get_close_matches(key[:64], known, n=1)
        advice = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}."
        return invalid(f"the key {self.path(key)} is not known; {advice}", self.path(key))

    def path(self, key: str) -> str:
        """Returns the whole name of a field."""
        return f"{self.field}.{key[:64]}" if self.field else key[:64]

    def value(self, key: str) -> Any:
        """Returns a value as it stands."""
        return self.values.get(key)

    def given(self, key: str) -> bool:
        """Tells whether there is a value, and not null."""
        return self.values.get(key) is not None

    def refuse_later(self, *keys: str) -> None:
        """Raises NotImplementedYet if one of the keys asks for something."""
        for key in keys:
            if self.values.get(key):
                raise later(self.path(key), key)

    def section(self, key: str, known: Collection[str] | None) -> "Section":
        """Returns a mapping within this one; an empty one if it is absent."""
        return Section(self.values.get(key), self.path(key), known)

    def sections(self, key: str, known: Collection[str]) -> Iterator[tuple[str, "Section"]]:
        """Yields the mappings within a mapping, with their names."""
        outer = self.section(key, None)
        for name in outer.values:
            yield name, outer.section(name, known)

    def text(self, key: str) -> str | None:
        """Returns a text, or None."""
        value = self.values.get(key)
        if value is None:
            return None
        field = self.path(key)
        if not isinstance(value, str):
            raise invalid(f"{field} must be a text; write it in quotes.", field)
        if len(value) > MAX_TEXT_CHARACTERS:
            raise invalid(f"{field} is longer than {MAX_TEXT_CHARACTERS} characters.", field)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Returns a list of texts; numbers in it count as texts."""
        value = self.values.get(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise invalid(f"{self.path(key)} must be a list.", self.path(key))
        return tuple(_scalar_text(item, f"{self.path(key)}[{index}]") for index, item in enumerate(value))

    def scalar(self, key: str) -> str | None:
        """Returns a text or a number as text, or None."""
        return _scalar_text(self.values[key], self.path(key)) if self.given(key) else None

    def flag(self, key: str) -> bool:
        """Returns a boolean, false if it is absent."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise invalid(f"{self.path(key)} must be true or false.", self.path(key))
        return bool(value)

    def fraction(self, key: str) -> None:
        """Checks a share of the whole."""
        value = self.values.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise invalid(f"{self.path(key)} must be a number from 0 to 1.", self.path(key))
        if value is not None and not 0 <= value <= 1:
            raise invalid(f"{self.path(key)} must be from 0 to 1.", self.path(key))

    def version(self, key: str) -> str | int | float | None:
        """Returns a version: a text or a number."""
        value = self.values.get(key)
        field = self.path(key)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        if not isinstance(value, str):
            raise invalid(f"{field} must be a text or a number.", field)
        if not value or len(value) > MAX_VERSION_CHARACTERS or not value.isprintable():
            raise invalid(
                f"{field} must have 1 to {MAX_VERSION_CHARACTERS} characters, all of them printable.", field
            )
        return value

    def command(self, key: str) -> str | tuple[str, ...] | None:
        """Returns a command: a text that is split as a shell does, or a list of arguments."""
        value = self.values.get(key)
        field = self.path(key)
        if isinstance(value, list):
            command = self.texts(key)
            if not command:
                raise invalid(f"{field} must not be an empty list.", field)
            return command
        text = self.text(key)
        try:
            empty = text is not None and not shlex.split(text)
        except ValueError as error:
            raise invalid(f"{field} cannot be split into words: {str(error).lower()}.", field) from None
        if empty:
            raise invalid(f"{field} must not be empty.", field)
        return text

    def environment(self, key: str) -> dict[str, str]:
        """Returns environment variables."""
        section = self.section(key, None)
        if len(section.values) > MAX_VARIABLES:
            raise invalid(f"{section.field} has more than {MAX_VARIABLES} variables.", section.field)
        return {name: _variable(name, value, section) for name, value in section.values.items()}

    def port(self, key: str) -> int:
        """Returns a port that must be there."""
        return _port(self.values.get(key), self.path(key))

    def port_bindings(self, key: str) -> tuple[PortBinding, ...]:
        """Returns ports to publish, from a map of container port to host port or a list of both."""
        value = self.values.get(key)
        field = self.path(key)
        if value is not None and not isinstance(value, dict | list):
            raise invalid(f"{field} must be a map such as '80/tcp: 8080' or a list.", field)
        bindings = tuple(
            _from_list(value, field) if isinstance(value, list) else _from_map(value or {}, field)
        )
        if len(bindings) > MAX_PORT_BINDINGS:
            raise invalid(f"{field} publishes more than {MAX_PORT_BINDINGS} ports.", field)
        _refuse_repeated(bindings, field)
        return bindings


def _variable(name: str, value: object, section: Section) -> str:
    field = section.path(name)
    if not _VARIABLE.fullmatch(name):
        raise invalid(f"{name[:64]!r} in {section.field} is no name of an environment variable.", field)
    text = "" if value is None else _scalar_text(value, field)
    if len(text) > MAX_VALUE_CHARACTERS:
        raise invalid(f"{field} is longer than {MAX_VALUE_CHARACTERS} characters.", field)
    return text


def _scalar_text(value: object, field: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise invalid(f"{field} must be a text or a number.", field)
    return str(value)


def _port(value: object, field: str) -> int:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,5}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_PORT:
        raise invalid(f"{field} must be a port from 1 to {MAX_PORT}.", field)
    return value


def _from_map(bindings: Mapping[str, Any], field: str) -> Iterator[PortBinding]:
    for key, host_port in bindings.items():
        yield _binding(key, host_port, f"{field}.{key[:16]}", f"{field}.{key[:16]}")


def _from_list(bindings: list[Any], field: str) -> Iterator[PortBinding]:
    for index, item in enumerate(bindings):
        entry = Section(item, f"{field}[{index}]", ("external", "internal"))
        yield _binding(
            entry.value("internal"), entry.value("external"), entry.path("internal"), entry.path("external")
        )


def _binding(container: object, host: object, container_field: str, host_field: str) -> PortBinding:
    match = _CONTAINER_PORT.fullmatch(str(container)) if not isinstance(container, bool) else None
    if match is None:
        raise invalid(
            f"{container_field}: a container's port is written like 80, 80/tcp or 53/udp.", container_field
        )
    host_port = None if host is None else _port(host, host_field)
    return PortBinding(_port(match[1], container_field), match[2] or "tcp", host_port)


def _refuse_repeated(bindings: Collection[PortBinding], field: str) -> None:
    keys = [binding.key for binding in bindings]
    taken = [(binding.host_port, binding.protocol) for binding in bindings if binding.host_port]
    if len(set(keys)) < len(keys) or len(set(taken)) < len(taken):
        raise invalid(f"{field} publishes a port twice.", field)
