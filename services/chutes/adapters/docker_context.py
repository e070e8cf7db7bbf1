"""The folder of a chute as the tar that the engine builds from, made while it is sent."""

import stat
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from services.chutes.adapters.docker_ignore import parse, sent_paths
from services.chutes.adapters.dockerfile import with_labels
from services.common.errors import InvalidArgument

CHUNK_BYTES = 64 * 1024
MAX_TEXT_BYTES = 256 * 1024
DOCKERFILE = "Dockerfile"
DOCKERIGNORE = ".dockerignore"
_END = bytes(2 * tarfile.BLOCKSIZE)


@dataclass(frozen=True, slots=True)
class Context:
    """What an image is built from."""

    folder: Path | None
    """The chute's folder; None if nothing but the Dockerfile is needed."""
    source: str = "."
    """Folder in it that takes its place if it has a Dockerfile of its own."""
    dockerfile: str | None = None
    """Takes the place of what the folder has."""

    @property
    def root(self) -> Path | None:
        """The folder that is sent."""
        if self.folder is None:
            return None
        source = (self.folder / self.source).resolve()
        inside = source.is_relative_to(self.folder.resolve())
        # As in the original a service is built from the whole chute, unless its own folder can be built.
        own = source.is_dir() and self.dockerfile is None and (source / DOCKERFILE).is_file()
        return source if inside and own else self.folder


def stream(context: Context, labels: Mapping[str, str]) -> Iterator[bytes]:
    """Yields the tar; the Dockerfile in it adds the labels to every layer."""
    root, text = context.root, context.dockerfile
    if text is None:
        text = _text(root or Path(), DOCKERFILE)
    yield from _bytes_member(DOCKERFILE, with_labels(text, labels).encode("utf-8", "surrogateescape"))
    if root is not None:
        ignored = _text(root, DOCKERIGNORE) if (root / DOCKERIGNORE).exists() else ""
        for path in sent_paths(root, parse(ignored)):
            if path != DOCKERFILE:
                yield from _member(root / path, path)
    yield _END


def _text(context: Path, name: str) -> str:
    """Reads a small text file of the chute, which may be a link to another one of it."""
    path = (context / name).resolve()
    if not path.is_relative_to(context.resolve()) or not path.is_file():
        raise InvalidArgument(
            f"{name} must be a file in the top folder of the chute; put it beside paradrop.yaml.",
            reason="DOCKERFILE_MISSING" if name == DOCKERFILE else "DOCKERIGNORE_INVALID",
            field=name,
        )
    with path.open("rb") as file:
        content = file.read(MAX_TEXT_BYTES + 1)
    if len(content) > MAX_TEXT_BYTES:
        raise InvalidArgument(
            f"{name} is larger than {MAX_TEXT_BYTES} bytes; make it shorter.",
            reason="DOCKERFILE_INVALID" if name == DOCKERFILE else "DOCKERIGNORE_INVALID",
            field=name,
        )
    return content.decode("utf-8", "surrogateescape")


def _bytes_member(name: str, content: bytes) -> Iterator[bytes]:
    info = tarfile.TarInfo(name)
    info.mode, info.size = 0o644, len(content)
    yield _header(info)
    yield content
    yield _padding(len(content))


def _member(path: Path, name: str) -> Iterator[bytes]:
    status = path.lstat()
    info = tarfile.TarInfo(name)
    info.mode, info.mtime = stat.S_IMODE(status.st_mode), int(status.st_mtime)
    if stat.S_ISLNK(status.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, str(path.readlink())
    elif stat.S_ISDIR(status.st_mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISREG(status.st_mode):
        info.size = status.st_size
    else:
        return
    yield _header(info)
    if info.size:
        yield from _content(path, info.size)


def _content(path: Path, size: int) -> Iterator[bytes]:
    left = size
    with path.open("rb") as file:
        while left:
            chunk = file.read(min(left, CHUNK_BYTES))
            if not chunk:
                raise OSError(f"{path} became shorter while it was read")
            left -= len(chunk)
            yield chunk
    yield _padding(size)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
