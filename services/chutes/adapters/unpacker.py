"""Unpacks archives of chutes while they come, and believes nothing that they say."""

import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from services.chutes.adapters.datatree import DataTree
from services.chutes.adapters.disk import require_free
from services.chutes.adapters.durable import sync_tree
from services.chutes.adapters.sources import require_dockerfiles
from services.chutes.adapters.tarball import Tree, content, unsafe_path
from services.chutes.adapters.tarheaders import members
from services.chutes.adapters.tarstream import TarStream, gunzipped
from services.chutes.domain.archives import (
    CHECKSUM,
    DATA,
    DESCRIPTION,
    MANIFEST,
    MAX_MANIFEST_BYTES,
    SOURCES,
    read_checksum,
    read_description,
    read_manifest,
    require_complete,
)
from services.chutes.domain.chuteyaml import MAX_BYTES as MAX_DESCRIPTION_BYTES
from services.chutes.domain.errors import archive_invalid
from services.chutes.domain.spec import Definition
from services.common.errors import InvalidArgument

Admit = Callable[[Definition], None]
"""Raises why a chute cannot be imported, as far as its description tells."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where an archive is unpacked to; neither folder is there before."""

    sources: Path
    data: Path
    max_source_bytes: int
    name: str = ""
    """Name that the chute gets; empty keeps its own."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What an archive held."""

    definition: Definition
    has_sources: bool


def unpack(read: Callable[[], bytes], target: Target, admit: Admit) -> Unpacked:
    """Unpacks an archive; `read` returns its next bytes, b"" at the end. Blocking.

    `admit` is called as soon as the description is known. Raises a DomainError if anything is wrong; what was
    unpacked by then is the caller's to remove.
    """
    os.mkdir(target.data, 0o700)
    stream = TarStream(_while_there_is_room(gunzipped(read), target.data.parent))
    archive = _Archive(stream, target, admit)
    try:
        with closing(archive):
            unpacked = archive.unpack()
    except InvalidArgument as error:
        error.field = error.field or "content"
        raise
    for folder in (target.sources, target.data):
        if folder.exists():
            sync_tree(folder)
    return unpacked


class _Archive:
    """One archive while it is unpacked."""

    def __init__(self, stream: TarStream, target: Target, admit: Admit) -> None:
        self._stream = stream
        self._target = target
        self._admit = admit
        self._definition: Definition | None = None
        self._sources: Tree | None = None
        self._data = DataTree(stream, target.data)
        self._ended = False

    def close(self) -> None:
        self._data.close()

    def unpack(self) -> Unpacked:
        known = False
        for member in members(self._stream):
            if self._ended:
                raise archive_invalid(f"something comes after {CHECKSUM}.")
            if not known:
                self._begin(member)
                known = True
            elif self._definition is None:
                self._describe(member)
            else:
                self._add(member)
        if not self._ended or self._definition is None:
            raise archive_invalid(f"it ends without {CHECKSUM}.")
        self._stream.finish()
        self._require_sources(self._definition)
        return Unpacked(self._definition, self._sources is not None)

    def _begin(self, member: tarfile.TarInfo) -> None:
        found = read_manifest(self._text(member, MANIFEST, MAX_MANIFEST_BYTES))
        require_free(self._target.data.parent, found.data_bytes)

    def _describe(self, member: tarfile.TarInfo) -> None:
        text = self._text(member, DESCRIPTION, MAX_DESCRIPTION_BYTES)
        self._definition = read_description(text, self._target.name)
        self._admit(self._definition)

    def _text(self, member: tarfile.TarInfo, name: str, max_bytes: int) -> bytes:
        if member.name != name or not member.isreg():
            raise archive_invalid(f"{name} is not where it belongs.")
        if member.size > max_bytes:
            raise archive_invalid(f"{name} is larger than {max_bytes} bytes.")
        return b"".join(content(self._stream, member))

    def _add(self, member: tarfile.TarInfo) -> None:
        top, _, _ = member.name.partition("/")
        if member.name == CHECKSUM:
            self._end(member)
        elif top == SOURCES:
            if self._sources is None:
                os.mkdir(self._target.sources, 0o700)
                self._sources = Tree(self._stream, self._target.sources, self._target.max_source_bytes)
            self._sources.add(_within(member, SOURCES))
        elif top == DATA:
            self._data.add(_within(member, DATA))
        else:
            raise unsafe_path(member, f"is neither in {SOURCES}/ nor in {DATA}/")

    def _end(self, member: tarfile.TarInfo) -> None:
        # Before what is read of this member moves on.
        is_of = self._stream.digest_before(member.offset)
        told = read_checksum(self._text(member, CHECKSUM, MAX_MANIFEST_BYTES))
        if told != is_of:
            raise InvalidArgument(
                "The archive is not what was exported: its checksum is another. Send it again, or export the "
                "chute anew.",
                reason="ARCHIVE_CHECKSUM_WRONG",
            )
        self._ended = True

    def _require_sources(self, definition: Definition) -> None:
        require_complete(definition.spec, self._sources is not None)
        if self._sources is not None:
            self._sources.check_links()
            require_dockerfiles(self._target.sources, definition.spec)


def _within(member: tarfile.TarInfo, top: str) -> tarfile.TarInfo:
    """Returns a member with its names as they are within a folder of the archive."""
    name = member.name.removeprefix(top).removeprefix("/")
    linkname = member.linkname
    if member.islnk():
        if not linkname.startswith(f"{top}/"):
            raise unsafe_path(member, "is a hard link to another part of the archive")
        linkname = linkname.removeprefix(f"{top}/")
    return member.replace(name=name, linkname=linkname, deep=False)


def _while_there_is_room(chunks: Iterator[bytes], folder: Path) -> Iterator[bytes]:
    """Passes on what is unpacked, all of which may be written."""
    for chunk in chunks:
        require_free(folder, len(chunk))
        yield chunk
