"""Reads files in the form of OpenWrt's UCI, as Paradrop 0.13 kept its configuration."""

import re
from dataclasses import dataclass, field

from services.common.errors import InvalidArgument

MAX_CHARACTERS = 256 * 1024
_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
_WORD = re.compile(
    r"""'(?P<single>[^']*)'
      | "(?P<double>(?:[^"\\]|\\.)*)"
      | (?P<bare>(?:[^\s'"\#\\]|\\.)(?:[^\s'"\\]|\\.)*)""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(.)")


@dataclass(slots=True)
class UciSection:
    """A section of a file."""

    type: str
    name: str = ""
    """Empty for a section without a name."""
    owner: str = ""
    """The comment behind its first line: whose it is, in files of Paradrop."""
    options: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)

    def get(self, name: str) -> str | None:
        """Returns an option, or the words of a list with blanks between."""
        return self.options.get(name) or " ".join(self.lists.get(name, ())) or None

    def words(self, name: str) -> list[str]:
        """Returns the entries of a list, or the words of an option."""
        return self.lists.get(name) or self.options.get(name, "").split()


def parse_uci(text: str, file: str = "uci") -> list[UciSection]:
    """Returns the sections of a file, or raises InvalidArgument (UCI_INVALID) with the number of the line."""
    if len(text) > MAX_CHARACTERS:
        raise _invalid(file, 0, f"it has more than {MAX_CHARACTERS} characters")
    sections: list[UciSection] = []
    for number, line in enumerate(text.split("\n"), 1):
        words, comment = _words(line, file, number)
        match words:
            case []:
                pass
            case ["package", _]:
                pass
            case ["config", kind, *rest] if len(rest) <= 1 and all(map(_NAME.fullmatch, [kind, *rest])):
                sections.append(UciSection(kind, rest[0] if rest else "", comment))
            case ["option" | "list" as what, name, value] if _NAME.fullmatch(name) and sections:
                if what == "option":
                    sections[-1].options[name] = value
                else:
                    sections[-1].lists.setdefault(name, []).append(value)
            case _:
                raise _invalid(file, number, "this is no line of UCI")
    return sections


def _words(line: str, file: str, number: int) -> tuple[list[str], str]:
    """Returns the words of a line, and what stands behind the sign of a comment."""
    words: list[str] = []
    place = 0
    while place < len(line):
        if line[place].isspace():
            place += 1
            continue
        if line[place] == "#":
            return words, line[place + 1 :].strip()
        match = _WORD.match(line, place)
        if match is None:
            raise _invalid(file, number, "a quotation has no end")
        words.append(_value(match))
        place = match.end()
    return words, ""


def _value(match: re.Match[str]) -> str:
    if match["single"] is not None:
        return match["single"]
    return _ESCAPE.sub(r"\1", match["double"] if match["double"] is not None else match["bare"])


def _invalid(file: str, number: int, what: str) -> InvalidArgument:
    return InvalidArgument(
        f"{file}, line {number}: {what}.", reason="UCI_INVALID", file=file, line=str(number)
    )
