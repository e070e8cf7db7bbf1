"""Reads the members of a tar file that strangers made, with bounded memory and time.

The standard library trusts the headers: it reads as much as they say, follows chains of them by recursion,
and searches them in quadratic time. What could lead to that is refused here before the library sees it.
"""

import re
import tarfile
from collections.abc import Iterator
from typing import Any, Protocol

from services.common.errors import InvalidArgument

MAX_READ_BYTES = 64 * 1024
MAX_HEADER_BYTES = 16 * 1024
MAX_GLOBAL_HEADER_BYTES = 1024
MAX_CHAINED_HEADERS = 4
MAX_SIZE_DIGITS = 18

_PAX_TYPES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_LONG_NAME_TYPES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_MANY_DIGITS = re.compile(rb"[0-9]{65}")
_RECORD_LENGTH = re.compile(rb"([1-9][0-9]{0,4}) ")
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}


def corrupt(problem: str) -> InvalidArgument:
    """Returns the error for a file that is no sound tar."""
    return InvalidArgument(f"The upload is not a sound tar file: {problem}", reason="TAR_CORRUPT")


def refuse_compressed(start: bytes) -> None:
    """Raises InvalidArgument if a file begins like a compressed one."""
    for magic, name in _COMPRESSED.items():
        if start.startswith(magic):
            raise corrupt(f"it is compressed ({name}). Send an uncompressed tar.")


class Source(Protocol):
    """What a tar is read from."""

    def read(self, size: int, /) -> bytes:
        """Returns so many bytes, fewer only at the end."""

    def seek(self, position: int, /) -> int:
        """Goes to a position."""

    def tell(self) -> int:
        """Returns the position."""


class BoundedFile:
    """A file of which nobody reads much at once."""

    def __init__(self, file: Source) -> None:
        self._file = file
        self.seek = file.seek
        self.tell = file.tell

    def read(self, size: int = -1) -> bytes:
        """Reads at most `size` bytes, which must be few."""
        if not 0 <= size <= MAX_READ_BYTES:
            raise corrupt("a header says that it is larger than any header.")
        return self._file.read(size)


class _Member(tarfile.TarInfo):
    """A member whose headers are looked at before the library works with them."""

    @classmethod
    def fromtarfile(cls, archive: Any) -> Any:
        """Reads the header where the file stands."""
        file = archive.fileobj
        position = file.tell()
        header = cls.frombuf(file.read(tarfile.BLOCKSIZE), archive.encoding, archive.errors)
        archive.chained += 1
        if archive.chained > MAX_CHAINED_HEADERS:
            raise corrupt("a member has too many headers.")
        _check(header, file)
        file.seek(position)
        return super().fromtarfile(archive)


class _Archive(tarfile.TarFile):
    tarinfo = _Member
    members: list[tarfile.TarInfo]
    chained = 0


def _check(header: tarfile.TarInfo, file: BoundedFile) -> None:
    if header.size < 0:
        raise corrupt("a member has a negative size.")
    if header.type == tarfile.GNUTYPE_SPARSE:
        raise sparse_refused()
    if header.type not in (*_PAX_TYPES, *_LONG_NAME_TYPES):
        return
    limit = MAX_GLOBAL_HEADER_BYTES if header.type == tarfile.XGLTYPE else MAX_HEADER_BYTES
    if header.size > limit:
        raise corrupt(f"a header has {header.size} bytes; {limit} are enough.")
    if header.type in _PAX_TYPES:
        _check_pax(file.read(header.size), is_global=header.type == tarfile.XGLTYPE)


def _check_pax(content: bytes, is_global: bool) -> None:
    if _MANY_DIGITS.search(content):
        raise corrupt("an extended header holds a number without end.")
    position = 0
    while position < len(content):
        length = _RECORD_LENGTH.match(content, position)
        end = position + int(length[1]) if length else 0
        if length is None or end > len(content) or end <= length.end() or content[end - 1 : end] != b"\n":
            raise corrupt("an extended header is malformed.")
        _check_record(*content[length.end() : end - 1].partition(b"="), is_global)
        position = end


def _check_record(keyword: bytes, equals: bytes, value: bytes, is_global: bool) -> None:
    if not keyword or not equals:
        raise corrupt("an extended header is malformed.")
    if keyword.startswith(b"GNU.sparse"):
        raise sparse_refused()
    if keyword == b"size" and (not value.isdigit() or len(value) > MAX_SIZE_DIGITS):
        raise corrupt("an extended header has a size that is no number.")
    if is_global and keyword in (b"size", b"path", b"linkpath"):
        raise corrupt(f"a global header sets the {keyword.decode()} of all members.")


def sparse_refused() -> InvalidArgument:
    """Returns the error for a file with holes: a few bytes of it may unpack to any size."""
    return InvalidArgument(
        "The tar holds a sparse file; make it without the option --sparse.", reason="TAR_UNSAFE_MEMBER"
    )


def members(file: Source) -> Iterator[tarfile.TarInfo]:
    """Yields the members of a tar file in order, or raises InvalidArgument where it is broken."""
    try:
        archive = _Archive(
            fileobj=BoundedFile(file),  # type: ignore[arg-type]
            encoding="utf-8",
            errors="surrogateescape",
        )
        while (member := archive.next()) is not None:
            yield member
            archive.chained = 0
            # The library keeps every member, which are many.
            archive.members.clear()
        file.seek(archive.offset)
    except (tarfile.TarError, ValueError, ArithmeticError, LookupError, RecursionError, EOFError) as error:
        raise corrupt(f"{error or type(error).__name__}.") from None
    # The library takes broken headers after the first for the end; so does everybody a file that ends early.
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise corrupt("it ends in the middle. Send it again.")
