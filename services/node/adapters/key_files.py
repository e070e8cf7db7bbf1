"""Files of authorised SSH keys, written as if by their owner. Blocking; meant for a thread.

The folders belong to users who may be up to something: no link of theirs is followed.
"""

import os
import pwd
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from services.common.errors import FailedPrecondition
from services.node.domain.ports import Account

FOLDER, FILE = ".ssh", "authorized_keys"
MAX_FILE_BYTES = 1024 * 1024


def find_account(user: str) -> Account | None:
    """Returns a user with a home folder from the password database."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return None
    if not entry.pw_dir.startswith("/") or not os.path.isdir(entry.pw_dir):
        return None
    return Account(entry.pw_name, entry.pw_dir, entry.pw_uid, entry.pw_gid)


def load_key(line: bytes) -> None:
    """Raises ValueError unless a line is a public key that OpenSSH would take."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    try:
        load_ssh_public_key(line)
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from None


def read_public_key(path: Path) -> str | None:
    """Returns the public key in a file; None if there is none, or none that OpenSSH would take."""
    try:
        line = path.read_bytes()[:MAX_FILE_BYTES].strip()
        load_key(line)
        return line.decode()
    except (OSError, ValueError):
        return None


class AuthorizedKeys:
    """`~/.ssh/authorized_keys` of the users of this machine."""

    def read(self, account: Account) -> list[str]:
        """Returns the lines of the user's file; none if there is no file."""
        try:
            with self._folder(account) as folder:
                descriptor = os.open(FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
                with os.fdopen(descriptor, "rb") as file:
                    content = file.read(MAX_FILE_BYTES)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _refused(account, error) from None
        return content.decode(errors="replace").splitlines()

    def write(self, account: Account, lines: Sequence[str]) -> None:
        """Replaces the user's file; afterwards it belongs to the user and nobody else can write it."""
        try:
            with self._folder(account, create=True) as folder:
                _replace(folder, account, "".join(f"{line}\n" for line in lines).encode())
        except OSError as error:
            raise _refused(account, error) from None

    @contextmanager
    def _folder(self, account: Account, create: bool = False) -> Iterator[int]:
        home = os.open(account.home, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if create:
                with suppress(FileExistsError):
                    os.mkdir(FOLDER, 0o700, dir_fd=home)
                    os.chown(FOLDER, account.uid, account.gid, dir_fd=home, follow_symlinks=False)
            folder = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=home)
        finally:
            os.close(home)
        try:
            yield folder
        finally:
            os.close(folder)


def _replace(folder: int, account: Account, content: bytes) -> None:
    temporary = f".{FILE}.{secrets.token_hex(6)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, 0o600, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchown(file.fileno(), account.uid, account.gid)
            os.fsync(file.fileno())
        os.rename(temporary, FILE, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)


def _refused(account: Account, error: OSError) -> FailedPrecondition:
    return FailedPrecondition(
        f"The keys of {account.name} cannot be read or written here ({error.strerror}); "
        f"see that ~{account.name}/{FOLDER} is a folder of that user and that the node runs as root.",
        reason="SSH_KEYS_UNREACHABLE",
        user=account.name,
    )
