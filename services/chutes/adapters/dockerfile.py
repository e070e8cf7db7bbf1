"""Adds labels to every image that a Dockerfile makes, half-finished ones included."""

import json
import re
from collections.abc import Iterator, Mapping

from services.chutes.adapters.docker_labels import PREFIX
from services.common.errors import InvalidArgument

_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.*?)\s*$")
_FROM = re.compile(r"\s*from(\s|$)", re.IGNORECASE)
_LABEL = re.compile(r"\s*(onbuild\s+)?label\s", re.IGNORECASE)
_HEREDOC = re.compile(r"<<-?\s*([\"']?)([A-Za-z_][A-Za-z0-9_]*)\1")
_HEREDOC_TAKERS = re.compile(r"\s*(run|copy|add)\s", re.IGNORECASE)


def with_labels(dockerfile: str, labels: Mapping[str, str]) -> str:
    """Returns the Dockerfile with a LABEL instruction after each FROM.

    So the layers of a build that is broken off, and the containers it ran, have the labels too.
    """
    label = "LABEL " + " ".join(f"{key}={json.dumps(value)}" for key, value in labels.items())
    lines: list[str] = []
    for instruction in _instructions(dockerfile):
        lines += instruction
        text = _joined(instruction)
        if _FROM.match(text):
            lines.append(label)
        elif _LABEL.match(text) and PREFIX in text:
            raise InvalidArgument(
                f"The Dockerfile sets a label that begins with {PREFIX}; these are the node's own.",
                reason="DOCKERFILE_INVALID",
                field="Dockerfile",
            )
    return "\n".join(lines) + "\n"


def _joined(lines: list[str]) -> str:
    return " ".join(line for line in lines if not line.lstrip().startswith("#"))


def _instructions(dockerfile: str) -> Iterator[list[str]]:
    """Yields the lines of each instruction, the comments and blank lines within and before it included."""
    # Only what the engine takes for the end of a line is one: a form feed or U+2028 is not.
    lines = [line.removesuffix("\r") for line in dockerfile.removeprefix("\ufeff").split("\n")]
    continued = re.compile(re.escape(_escape(lines)) + r"[ \t]*$")
    current: list[str] = []
    started = False
    ends: list[str] = []
    for line in lines:
        current.append(line)
        if ends:
            if line.lstrip("\t") == ends[0]:
                ends.pop(0)
            if not ends:
                yield current
                current, started = [], False
            continue
        if not line.strip() or line.lstrip().startswith("#"):
            # Blank lines and comments neither begin nor end an instruction.
            if not started:
                yield current
                current = []
            continue
        started = True
        if continued.search(line):
            continue
        if _HEREDOC_TAKERS.match(_joined(current)):
            ends = [match[2] for match in _HEREDOC.finditer(_joined(current))]
        if not ends:
            yield current
            current, started = [], False
    if current:
        yield current


def _escape(lines: list[str]) -> str:
    r"""Returns the character that continues lines: a backslash, unless the first lines say otherwise."""
    for line in lines:
        directive = _DIRECTIVE.match(line)
        if directive is None:
            break
        if directive[1].lower() == "escape":
            return directive[2][:1] or "\\"
    return "\\"
