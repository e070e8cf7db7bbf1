"""Compares host configurations, and keeps secret keys out of what is shown."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

MASK = "********"
SECRETS = frozenset({"key", "auth_secret", "acct_secret", "password"})
ABSENT: Any = object()
"""Stands for a value that a document does not have."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two documents differ."""

    path: str
    """JSON Pointer (RFC 6901)."""
    kind: Literal["added", "removed", "changed"]
    before: Any = ABSENT
    after: Any = ABSENT


def differences(before: Any, after: Any, path: str = "") -> Iterator[Difference]:
    """Yields the places where two documents differ, by path; secrets are not masked."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            escaped = key.replace("~", "~0").replace("/", "~1")
            yield from _pair(before.get(key, ABSENT), after.get(key, ABSENT), f"{path}/{escaped}")
    elif isinstance(before, list | tuple) and isinstance(after, list | tuple):
        for index in range(max(len(before), len(after))):
            yield from _pair(
                before[index] if index < len(before) else ABSENT,
                after[index] if index < len(after) else ABSENT,
                f"{path}/{index}",
            )
    elif not _same(before, after):
        yield Difference(path, "changed", before, after)


def _pair(before: Any, after: Any, path: str) -> Iterator[Difference]:
    if before is ABSENT:
        yield Difference(path, "added", after=after)
    elif after is ABSENT:
        yield Difference(path, "removed", before)
    else:
        yield from differences(before, after, path)


def _same(before: Any, after: Any) -> bool:
    # True is not 1, and "1" is not 1; but 1.0 is 1, as in JSON.
    return bool(isinstance(before, bool) == isinstance(after, bool) and before == after)


def masked(value: Any, key: str = "") -> Any:
    """Returns a value with its secrets masked; `key` is the name it stands under."""
    if isinstance(value, Mapping):
        return {name: masked(item, name) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    return MASK if key in SECRETS and isinstance(value, str) and value else value


def unmasked(value: Any, present: Any, key: str = "") -> Any:
    """Returns a document in which each mask is the secret that stands in the present one in its place.

    An entry of a list is looked for by its names first, so that entries may be moved. A mask without a secret
    behind it stays, and is refused as no proper key later on.
    """
    if isinstance(value, Mapping):
        known = present if isinstance(present, Mapping) else {}
        return {name: unmasked(item, known.get(name, ABSENT), name) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [unmasked(item, _counterpart(item, index, present)) for index, item in enumerate(value)]
    if key in SECRETS and value == MASK and isinstance(present, str):
        return present
    return value


def _counterpart(item: Any, index: int, present: Any) -> Any:
    if not isinstance(present, Sequence) or isinstance(present, str) or not isinstance(item, Mapping):
        return ABSENT
    names = [key for key in ("device", "ssid", "id", "name") if key in item]
    for other in present:
        if isinstance(other, Mapping) and names and all(other.get(key) == item[key] for key in names):
            return other
    return present[index] if index < len(present) else ABSENT
