"""Unpacks uploaded chutes: nothing leaves the folder, nothing grows without limit, and errors leave nothing.

The extraction filter of the standard library asks the file system where a path leads, which has been fooled
before. Here the tree that has been written so far decides: no path leads through a link, so no file can be
written outside whatever the links say, and at the end no link may lead out.
"""

import os
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from services.chutes.adapters.tarheaders import Source, corrupt, members, refuse_compressed
from services.common.errors import InvalidArgument, ResourceExhausted

MAX_LINKS_FOLLOWED = 40
MAX_STEPS = 128
"""Folders and links on the way to where a link leads; the kernel itself stops somewhere."""
CHUNK_BYTES = 64 * 1024

Kind = Literal["folder", "file", "link"]
Steps = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a chute may be, beside its size."""

    members: int = 20_000
    """Files, links and folders, those included that are only named in paths."""
    path_bytes: int = 1024
    name_bytes: int = 255
    depth: int = 32


DEFAULT_LIMITS = Limits()


def extract(tar_path: Path, target: Path, max_bytes: int, limits: Limits = DEFAULT_LIMITS) -> None:
    """Unpacks an uncompressed tar into a new folder.

    `max_bytes` limits the sum of all files. Owners, times and special permissions are not kept. Raises
    InvalidArgument or ResourceExhausted if anything is wrong, and leaves no folder then. Blocking.
    """
    target.mkdir(mode=0o700)
    try:
        with tar_path.open("rb") as file:
            refuse_compressed(file.read(8))
            file.seek(0)
            tree = Tree(file, target, max_bytes, limits, os.fstat(file.fileno()).st_size)
            for member in members(file):
                tree.add(member)
        tree.check_links()
    except BaseException:
        shutil.rmtree(target)
        raise


class Tree:
    """What has been unpacked so far to a folder that was empty."""

    def __init__(
        self,
        file: Source,
        target: Path,
        max_bytes: int,
        limits: Limits = DEFAULT_LIMITS,
        file_bytes: int | None = None,
    ) -> None:
        self._file = file
        self._target = target
        self._max_bytes = max_bytes
        self._limits = limits
        self._left_bytes = max_bytes
        self._file_bytes = file_bytes
        self.kinds: dict[Steps, Kind] = {}
        self.links: dict[Steps, Steps] = {}

    def add(self, member: tarfile.TarInfo) -> None:
        """Unpacks one member, or raises what is wrong with it."""
        steps = path_steps(member.name, member, self._limits)
        if member.isdir():
            self._folder(steps, member)
            return
        if not steps:
            raise unsafe_path(member, "has no name")
        self._folder(steps[:-1], None)
        if member.isreg():
            self._regular(steps, member)
        elif member.issym():
            target = self._link_target(member)
            self._claim(steps, "link", member)
            self.links[steps] = target
            self._path(steps).symlink_to(member.linkname)
        elif member.islnk():
            self._hard_link(steps, member)
        else:
            raise unsafe_member(member, "is neither a file, a folder nor a link; leave it out")

    def _path(self, steps: Steps) -> Path:
        return self._target.joinpath(*steps)

    def _folder(self, steps: Steps, member: tarfile.TarInfo | None) -> None:
        """Makes a folder and those above it; `member` is what asks for it, with its permissions."""
        for depth in range(1, len(steps) + 1):
            folder = steps[:depth]
            kind = self.kinds.get(folder)
            if kind is None:
                self._count()
                self._path(folder).mkdir(mode=0o755)
                self.kinds[folder] = "folder"
            elif kind != "folder":
                raise InvalidArgument(
                    f"The tar puts something below {_shown('/'.join(folder))}, which is a {kind}.",
                    reason="TAR_UNSAFE_MEMBER",
                )
        if member is not None and steps:
            self._path(steps).chmod((member.mode & 0o755) | 0o700)

    def _count(self) -> None:
        if len(self.kinds) >= self._limits.members:
            raise too_many_members(self._limits)

    def _claim(self, steps: Steps, kind: Kind, member: tarfile.TarInfo) -> None:
        """Takes a name; a file may replace a file, as in archives that were appended to."""
        known = self.kinds.get(steps)
        if known is None:
            self._count()
        elif known == kind == "file":
            self._path(steps).unlink()
        else:
            raise unsafe_member(member, f"is there twice, first as a {known}")
        self.kinds[steps] = kind

    def _regular(self, steps: Steps, member: tarfile.TarInfo) -> None:
        if member.size > self._left_bytes:
            raise ResourceExhausted(
                f"The chute is larger than {self._max_bytes} bytes when it is unpacked; leave out what "
                "it does not need, or raise PARADROP_MAX_UPLOAD_MIB.",
                reason="UPLOAD_TOO_LARGE",
                limit_bytes=str(self._max_bytes),
            )
        if self._file_bytes is not None and member.offset_data + member.size > self._file_bytes:
            raise corrupt("it ends in the middle. Send it again.")
        self._left_bytes -= member.size
        self._claim(steps, "file", member)
        executable = 0o111 if member.mode & 0o100 else 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path(steps), flags, 0o600)
        with os.fdopen(descriptor, "wb") as output:
            os.fchmod(descriptor, (member.mode & 0o644) | 0o600 | (member.mode & executable))
            for chunk in content(self._file, member):
                output.write(chunk)

    def _hard_link(self, steps: Steps, member: tarfile.TarInfo) -> None:
        source = path_steps(member.linkname, member, self._limits)
        if self.kinds.get(source) != "file" or source == steps:
            raise unsafe_member(member, "is a hard link to something that is not a file of the tar before it")
        self._claim(steps, "file", member)
        os.link(self._path(source), self._path(steps), follow_symlinks=False)

    def _link_target(self, member: tarfile.TarInfo) -> Steps:
        text = member.linkname
        if text.startswith("/"):
            raise unsafe_member(member, "is a link to an absolute path")
        target = tuple(step for step in text.split("/") if step not in ("", "."))
        too_long = len(text.encode("utf-8", "surrogateescape")) > self._limits.path_bytes
        if not text or "\0" in text or too_long or len(target) > MAX_STEPS:
            raise unsafe_member(member, "is a link to nowhere")
        return target

    def check_links(self) -> None:
        """Raises InvalidArgument if a symbolic link leads out of the tree, by whatever way."""
        for steps in self.links:
            if not self._stays(steps):
                raise InvalidArgument(
                    f"The link {_shown('/'.join(steps))} in the tar leads out of the chute or in a circle.",
                    reason="TAR_UNSAFE_MEMBER",
                )

    def _stays(self, link: Steps) -> bool:
        """Follows a link the way the kernel does, through the tree and never beyond."""
        here: list[str] = []
        ahead = list(reversed(link))
        followed = 0
        for _ in range(MAX_STEPS):
            if not ahead:
                return True
            step = ahead.pop()
            if step == "..":
                if not here:
                    return False
                here.pop()
                continue
            here.append(step)
            target = self.links.get(tuple(here))
            if target is not None:
                here.pop()
                ahead += reversed(target)
                followed += 1
                if followed > MAX_LINKS_FOLLOWED:
                    return False
        return False


def path_steps(name: str, member: tarfile.TarInfo, limits: Limits) -> Steps:
    """Returns the names that a path in a tar is made of, or raises InvalidArgument (TAR_UNSAFE_PATH)."""
    if name.startswith("/"):
        raise unsafe_path(member, "is an absolute path")
    steps = tuple(step for step in name.split("/") if step not in ("", "."))
    if ".." in steps:
        raise unsafe_path(member, "leads out of the chute with '..'")
    if "\0" in name:
        raise unsafe_path(member, "holds a character that is no text")
    encoded = [step.encode("utf-8", "surrogateescape") for step in steps]
    if (
        len(steps) > limits.depth
        or sum(map(len, encoded)) + len(steps) > limits.path_bytes
        or any(len(step) > limits.name_bytes for step in encoded)
    ):
        raise unsafe_path(member, "is too long or too deep")
    return steps


def content(file: Source, member: tarfile.TarInfo) -> Iterator[bytes]:
    """Yields the bytes of a member, or raises InvalidArgument (TAR_CORRUPT) if some are missing."""
    file.seek(member.offset_data)
    left = member.size
    while left:
        chunk = file.read(min(left, CHUNK_BYTES))
        if not chunk:
            raise corrupt("it ends in the middle. Send it again.")
        left -= len(chunk)
        yield chunk


def too_many_members(limits: Limits) -> InvalidArgument:
    """There are more members than a node can take."""
    return InvalidArgument(
        f"The tar holds more than {limits.members} files and folders; leave out what is not needed.",
        reason="TAR_TOO_MANY_MEMBERS",
        limit=str(limits.members),
    )


def unsafe_path(member: tarfile.TarInfo, why: str) -> InvalidArgument:
    """The path of a member leads elsewhere."""
    return InvalidArgument(f"The path {_shown(member.name)} in the tar {why}.", reason="TAR_UNSAFE_PATH")


def unsafe_member(member: tarfile.TarInfo, why: str) -> InvalidArgument:
    """A member is something that is not taken."""
    return InvalidArgument(f"The member {_shown(member.name)} of the tar {why}.", reason="TAR_UNSAFE_MEMBER")


def _shown(name: str) -> str:
    """Returns a name as it can be shown and sent: names in a tar may be any bytes."""
    return repr(name[:200].encode("utf-8", "backslashreplace").decode())
