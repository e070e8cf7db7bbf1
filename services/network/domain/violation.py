"""Something that is wrong with a document."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """Something wrong at one place of a document."""

    field: str
    """Such as "wifi-interfaces[0].ssid"; empty for the whole document."""
    description: str
