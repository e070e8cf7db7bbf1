"""Unpacks the data of a chute as it was, with its owners, permissions and times.

There may be far more of it than of an upload, so nothing is remembered of what was unpacked. Each folder is
opened in the one above it and never through a link: no name leads out, whatever links there are.
"""

import os
import re
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.chutes.adapters.links import leads_out
from services.chutes.adapters.tarball import (
    Limits,
    Steps,
    content,
    path_steps,
    too_many_members,
    unsafe_member,
)
from services.chutes.adapters.tarheaders import Source
from services.chutes.domain.archives import MAX_DEPTH

LIMITS = Limits(members=1_000_000, path_bytes=4000, depth=MAX_DEPTH)
MAX_TIME_S = 2**33
MAX_ID = 2**32 - 2
"""The one after it means "as it is"."""

_SECONDS = re.compile(r"(\d{1,12})\.(\d{1,9})\d*", re.ASCII)

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class DataTree:
    """A folder that data is unpacked to; close it at the end.

    As root, owners are kept; permissions and times always are, but for the set-id bits of files: who runs
    them in a container has them from its image.
    """

    def __init__(self, file: Source, root: Path, limits: Limits = LIMITS) -> None:
        self._file = file
        self._limits = limits
        self._count = 0
        self._as_root = os.geteuid() == 0
        self._open: list[tuple[str, int]] = [("", os.open(root, FOLDER_FLAGS))]
        """The folder that was used last and those above it: names mostly come by folder."""

    def close(self) -> None:
        """Closes the folders that are open."""
        while self._open:
            os.close(self._open.pop()[1])

    def add(self, member: tarfile.TarInfo) -> None:
        """Unpacks one member, with a name within the data, or raises what is wrong with it."""
        steps = path_steps(member.name, member, self._limits)
        self._counted()
        if not 0 <= member.uid <= MAX_ID or not 0 <= member.gid <= MAX_ID:
            raise unsafe_member(member, "has an owner that cannot be")
        if not steps:
            if not member.isdir():
                raise unsafe_member(member, "takes the place of the folder itself")
            # Owner and permissions of the data folder are the node's business.
            return
        try:
            self._add(member, steps)
        except FileExistsError:
            raise unsafe_member(member, "is there twice") from None
        except PermissionError:
            raise unsafe_member(member, "lies in a folder that cannot be written to") from None

    def _add(self, member: tarfile.TarInfo, steps: Steps) -> None:
        if member.isdir():
            folder = self._folder(steps, member)
            self._finish(member, folder, (member.mode & 0o1777) | self._own(0o700))
            return
        folder, name = self._folder(steps[:-1], member), steps[-1]
        if member.isreg():
            self._regular(member, folder, name)
        elif member.issym():
            self._link(member, folder, name, steps)
        elif member.islnk():
            self._hard_link(member, folder, name)
        else:
            raise unsafe_member(member, "is neither a file, a folder nor a link")

    def _counted(self) -> None:
        self._count += 1
        if self._count > self._limits.members:
            raise too_many_members(self._limits)

    def _folder(self, steps: Steps, member: tarfile.TarInfo) -> int:
        """Returns an open folder, which is made if it is not there."""
        same = 0
        for (name, _), step in zip(self._open[1:], steps, strict=False):
            if name != step:
                break
            same += 1
        while len(self._open) > same + 1:
            os.close(self._open.pop()[1])
        for step in steps[same:]:
            above = self._open[-1][1]
            try:
                descriptor = self._opened(step, above)
            except NotADirectoryError:  # Links are none either.
                raise unsafe_member(member, "lies below something that is no folder") from None
            self._open.append((step, descriptor))
        return self._open[-1][1]

    def _opened(self, step: str, above: int) -> int:
        try:
            return os.open(step, FOLDER_FLAGS, dir_fd=above)
        except FileNotFoundError:
            self._counted()
            os.mkdir(step, 0o700, dir_fd=above)
            return os.open(step, FOLDER_FLAGS, dir_fd=above)

    def _regular(self, member: tarfile.TarInfo, folder: int, name: str) -> None:
        descriptor = os.open(name, FILE_FLAGS, 0o600, dir_fd=folder)
        try:
            for chunk in content(self._file, member):
                if chunk.count(0) == len(chunk):
                    # Holes stay holes, and zeros without end fill no disk.
                    os.lseek(descriptor, len(chunk), os.SEEK_CUR)
                else:
                    _write(descriptor, chunk)
            os.ftruncate(descriptor, member.size)
            self._finish(member, descriptor, (member.mode & 0o777) | self._own(0o600))
        finally:
            os.close(descriptor)

    def _own(self, mode: int) -> int:
        """Returns what the node itself may do with what is its own: root may do everything anyway."""
        return 0 if self._as_root else mode

    def _finish(self, member: tarfile.TarInfo, descriptor: int, mode: int) -> None:
        if self._as_root:
            os.fchown(descriptor, member.uid, member.gid)
        os.fchmod(descriptor, mode)
        os.utime(descriptor, ns=_times(member))

    def _link(self, member: tarfile.TarInfo, folder: int, name: str, steps: Steps) -> None:
        target = member.linkname
        too_long = len(target.encode("utf-8", "surrogateescape")) > self._limits.path_bytes
        if not target or "\0" in target or too_long:
            raise unsafe_member(member, "is a link to nowhere")
        if leads_out(steps, target):
            raise unsafe_member(member, "is a link that leads out of the data")
        os.symlink(target, name, dir_fd=folder)
        if self._as_root:
            os.chown(name, member.uid, member.gid, dir_fd=folder, follow_symlinks=False)
        os.utime(name, ns=_times(member), dir_fd=folder, follow_symlinks=False)

    def _hard_link(self, member: tarfile.TarInfo, folder: int, name: str) -> None:
        steps = path_steps(member.linkname, member, self._limits)
        with self._elsewhere(steps[:-1], member) as source:
            if not steps or not _is_file(steps[-1], source):
                raise unsafe_member(member, "is a hard link to what is no file before it")
            os.link(steps[-1], name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)

    @contextmanager
    def _elsewhere(self, steps: Steps, member: tarfile.TarInfo) -> Iterator[int]:
        """Opens a folder that is there, and leaves the ones that are open as they are."""
        descriptor = os.dup(self._open[0][1])
        try:
            for step in steps:
                below = os.open(step, FOLDER_FLAGS, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        except (FileNotFoundError, NotADirectoryError):
            raise unsafe_member(member, "is a hard link to what is no file before it") from None
        finally:
            os.close(descriptor)


def _write(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


def _is_file(name: str, folder: int) -> bool:
    return stat.S_ISREG(os.lstat(name, dir_fd=folder).st_mode)


def _times(member: tarfile.TarInfo) -> tuple[int, int]:
    """Returns the times of access and change in nanoseconds; a header may know more digits than a float."""
    exact = _SECONDS.fullmatch(member.pax_headers.get("mtime", ""))
    time_ns = int(min(max(member.mtime, 0), MAX_TIME_S)) * 1_000_000_000
    if exact and int(exact[1]) * 1_000_000_000 == time_ns:
        time_ns += int(exact[2].ljust(9, "0"))
    return time_ns, time_ns
