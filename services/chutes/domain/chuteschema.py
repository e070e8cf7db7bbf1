"""Checks documents against the published JSON Schema of chutes, and says what is wrong in words.

The schema is the only place that says which keys there are and what their values may be: what is served is
what is applied here. It is applied by this module and not by a library, which would cost every node several
megabytes of memory for the few keywords that the schema needs; a test holds both against each other.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from services.chutes.domain.chuteyaml import MAX_FIELD_CHARACTERS, MAX_MESSAGE_CHARACTERS, invalid

MAX_KEY_CHARACTERS = 64
MAX_VIOLATIONS = 8
"""Errors travel in headers, which have little room."""

Schema = Mapping[str, Any]

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong with a document."""

    field: str
    """Where, such as "services.main.requests.port-bindings[1].internal"."""
    message: str
    reason: str


SCHEMA: Schema = json.loads(resources.files(__package__ or "").joinpath("chute.schema.json").read_bytes())
"""As it is published."""


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def violations(document: Any) -> Iterator[Violation]:
    """Yields what is wrong with a document, in the order of the schema; nothing if it describes a chute."""
    yield from _check(document, SCHEMA, "", {})


def refuse_violations(document: Mapping[str, Any]) -> None:
    """Raises InvalidArgument with what the schema does not allow."""
    found: list[Violation] = []
    for violation in violations(document):
        found.append(violation)
        if len(found) == MAX_VIOLATIONS:
            break
    if found:
        first = invalid(found[0].message, found[0].field, found[0].reason)
        first.violations = [(one.field, one.message[:MAX_MESSAGE_CHARACTERS]) for one in found]
        raise first


def below(field: str, key: str) -> str:
    """Returns the name of a field within a field."""
    return f"{field}.{key[:MAX_KEY_CHARACTERS]}" if field else key[:MAX_KEY_CHARACTERS]


def _check(value: Any, schema: Schema, field: str, outer: Schema) -> Iterator[Violation]:
    """Applies a schema; `outer` holds the words of those around it that speak of the same value."""
    words = {**outer, **{key: text for key, text in schema.items() if key.startswith("x-")}}
    if "$ref" in schema:
        target = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
        # What a definition says of itself is more precise than what was said of the place.
        yield from _check(value, target, field, words)
    if "if" in schema:
        yield from _check(value, schema["then" if _fits(value, schema["if"]) else "else"], field, words)
    if not _is_plainly_right(value, schema):
        yield _violation(field, words)
        return
    if isinstance(value, dict):
        yield from _check_object(value, schema, field, words)
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from _check(item, schema["items"], f"{field}[{index}]", {})
    for part in schema.get("allOf", ()):
        yield from _check(value, part, field, words)


def _fits(value: Any, schema: Schema) -> bool:
    return next(_check(value, schema, "", {}), None) is None


def _is_plainly_right(value: Any, schema: Schema) -> bool:
    """Applies what needs no look into objects and lists."""
    if "type" in schema and not _has_type(value, schema["type"]):
        return False
    if "enum" in schema and not any(_equal(value, one) for one in schema["enum"]):
        return False
    if "not" in schema and _fits(value, schema["not"]):
        return False
    if "anyOf" in schema and not any(_fits(value, one) for one in schema["anyOf"]):
        return False
    if isinstance(value, str):
        if "pattern" in schema and not _pattern(schema["pattern"]).search(value):
            return False
        return _within(len(value), schema, "minLength", "maxLength")
    if isinstance(value, list):
        return _within(len(value), schema, "minItems", "maxItems")
    if isinstance(value, dict):
        return _within(len(value), schema, "minProperties", "maxProperties")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _within(value, schema, "minimum", "maximum")
    return True


def _within(number: float, schema: Schema, least: str, most: str) -> bool:
    return bool(schema.get(least, number) <= number <= schema.get(most, number))


def _has_type(value: Any, types: str | list[str]) -> bool:
    return any(_has_one_type(value, name) for name in ([types] if isinstance(types, str) else types))


def _has_one_type(value: Any, name: str) -> bool:
    if name in _TYPES:
        return isinstance(value, _TYPES[name])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return name == "number" or isinstance(value, int) or value.is_integer()


def _equal(value: Any, other: Any) -> bool:
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _check_object(value: dict[str, Any], schema: Schema, field: str, words: Schema) -> Iterator[Violation]:
    properties: Schema = schema.get("properties", {})
    needed = [key for key in schema.get("required", ()) if key not in value]
    for key, others in schema.get("dependentRequired", {}).items():
        needed += [other for other in others if key in value and other not in value]
    for key in dict.fromkeys(needed):
        yield _missing(below(field, key), properties.get(key, {}))
    for key, item in value.items():
        where = below(field, key)
        if "propertyNames" in schema:
            yield from _check(key, schema["propertyNames"], where, {})
        if key in properties:
            yield from _check(item, properties[key], where, {})
        elif schema.get("additionalProperties") is False:
            yield _unknown(key, where, properties)
        elif "additionalProperties" in schema:
            yield from _check(item, schema["additionalProperties"], where, {})


def _violation(field: str, words: Schema) -> Violation:
    where = words.get("x-field", field)
    message = words.get("x-message") or f"{where or 'it'} must be {words.get('x-expects', 'a mapping')}"
    return _worded(where, f"{message}.", words.get("x-reason"))


def _missing(field: str, schema: Schema) -> Violation:
    expects = _expects(schema)
    return _worded(field, f"{field} is missing; it must be {expects}." if expects else f"{field} is missing.")


def _expects(schema: Schema) -> str | None:
    if "$ref" in schema:
        return _expects(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]])
    expects: str | None = schema.get("x-expects")
    return expects


def _unknown(key: str, field: str, known: Schema) -> Violation:
    # Whoever misspells "services" has not chosen the old form.
    meant = {**known, **SCHEMA["$defs"]["newForm"]["properties"]} if field == key else known
    near = difflib.get_close_matches(key[:MAX_KEY_CHARACTERS], meant, n=1)
    advice = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}."
    return _worded(field, f"the key {field} is not known; {advice}")


def _worded(field: str, message: str, reason: str | None = None) -> Violation:
    return Violation(field[:MAX_FIELD_CHARACTERS], message, reason or "CHUTE_FILE_INVALID")
