"""The part of a chute's folder that is sent to the engine, as .dockerignore says."""

import fnmatch
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

ALWAYS_SENT = ("Dockerfile", ".dockerignore")
"""The engine itself leaves them out of the image if they are excluded."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line of a .dockerignore file."""

    segments: tuple[str, ...]
    excludes: bool

    def matches(self, path: Sequence[str]) -> bool:
        """Tells whether the pattern means the path or a folder above it."""
        reached = {0}
        for segment in path:
            if len(self.segments) in self._skipped(reached):
                return True
            reached = set(self._next(reached, segment))
        return len(self.segments) in self._skipped(reached)

    def _skipped(self, reached: set[int]) -> set[int]:
        """Adds the positions after each ** that stands for nothing."""
        positions = set(reached)
        for position in sorted(reached):
            while position < len(self.segments) and self.segments[position] == "**":
                position += 1
                positions.add(position)
        return positions

    def _next(self, reached: set[int], segment: str) -> Iterator[int]:
        for position in self._skipped(reached):
            if position == len(self.segments):
                continue
            if self.segments[position] == "**":
                yield position
            elif _glob(self.segments[position]).match(segment):
                yield position + 1


@lru_cache(maxsize=1024)
def _glob(segment: str) -> re.Pattern[str]:
    """Returns a pattern of Go's as one of ours; the standard library's takes no exponential time."""
    text = re.sub(r"\\(.)", lambda escaped: f"[{escaped[1]}]", segment).replace("[^", "[!")
    return re.compile(fnmatch.translate(text))


def parse(text: str) -> list[Pattern]:
    """Returns the patterns of a .dockerignore file in their order."""
    patterns = []
    for line in text.removeprefix("\ufeff").split("\n"):
        line = "" if line.startswith("#") else line.strip()
        excludes = not line.startswith("!")
        cleaned = posixpath.normpath("/" + line.removeprefix("!").strip()).lstrip("/")
        if cleaned:
            patterns.append(Pattern(tuple(cleaned.split("/")), excludes))
    return patterns


def sent_paths(root: Path, patterns: Sequence[Pattern]) -> Iterator[str]:
    """Yields the paths below a folder that no pattern excludes, folders before what is in them, in order."""
    exceptions = any(not pattern.excludes for pattern in patterns)
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        for entry in sorted((root / folder).iterdir(), reverse=True):
            path = posixpath.join(folder, entry.name)
            excluded = path not in ALWAYS_SENT and _excluded(path.split("/"), patterns)
            if not excluded:
                yield path
            if (exceptions or not excluded) and entry.is_dir() and not entry.is_symlink():
                waiting.append(path)


def _excluded(path: Sequence[str], patterns: Sequence[Pattern]) -> bool:
    excluded = False
    for pattern in patterns:
        if pattern.excludes != excluded and pattern.matches(path):
            excluded = pattern.excludes
    return excluded
