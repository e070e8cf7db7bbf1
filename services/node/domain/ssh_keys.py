"""The SSH keys that let somebody in as a user of the operating system."""

import asyncio
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Sequence
from hashlib import sha256

from services.common.errors import AlreadyExists, InvalidArgument, NotFound, ResourceExhausted
from services.node.domain.ports import Account, KeyFiles

USER_NAME = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
MAX_LINE_CHARACTERS = 8 * 1024
MAX_KEYS = 500

LoadKey = Callable[[bytes], None]
"""Raises ValueError unless the line is a public key with sound numbers in it."""
FindAccount = Callable[[str], Account | None]


class SshKeys:
    """Reads and alters the files of authorised keys."""

    def __init__(self, files: KeyFiles, find_account: FindAccount, load_key: LoadKey) -> None:
        self._files = files
        self._find_account = find_account
        self._load_key = load_key
        self._lock = asyncio.Lock()

    async def keys(self, user: str) -> Sequence[str]:
        """Returns the lines of keys."""
        return await asyncio.to_thread(self._read, await self._account(user))

    async def add(self, user: str, key: str) -> str:
        """Adds one key and returns it as it was written."""
        line = await asyncio.to_thread(self._checked, key)
        account = await self._account(user)
        async with self._lock:
            keys = await asyncio.to_thread(self._read, account)
            if fingerprint(line) in map(fingerprint, keys):
                raise AlreadyExists(
                    "Key already exists.", reason="SSH_KEY_EXISTS", fingerprint=fingerprint(line)
                )
            if len(keys) >= MAX_KEYS:
                raise ResourceExhausted(
                    f"A user has at most {MAX_KEYS} keys; remove one first.", reason="SSH_KEYS_TOO_MANY"
                )
            await asyncio.to_thread(self._append, account, line)
        return line

    async def remove(self, user: str, key: str) -> str:
        """Removes the key with a fingerprint or a line and returns its line."""
        wanted = key.strip() if key.strip().startswith("SHA256:") else fingerprint(key)
        account = await self._account(user)
        async with self._lock:
            lines = await asyncio.to_thread(self._files.read, account)
            for line in lines:
                if _is_key(line) and fingerprint(line) == wanted:
                    kept = [other for other in lines if other is not line]
                    await asyncio.to_thread(self._files.write, account, kept)
                    return line
        raise NotFound(
            f"User {user} has no such key; list them with GET /api/v1/config/sshKeys/{user}.",
            reason="SSH_KEY_NOT_FOUND",
            user=user,
        )

    async def _account(self, user: str) -> Account:
        if not USER_NAME.fullmatch(user):
            raise InvalidArgument(
                f"{user!r} cannot be the name of a user.", reason="USER_INVALID", field="user"
            )
        account = await asyncio.to_thread(self._find_account, user)
        if account is None:
            raise NotFound(f"No home directory found for user {user}", reason="USER_NOT_FOUND", user=user)
        return account

    def _read(self, account: Account) -> list[str]:
        return [line for line in self._files.read(account) if _is_key(line)]

    def _append(self, account: Account, line: str) -> None:
        # Comments and whatever else people wrote into the file stay.
        self._files.write(account, [*self._files.read(account), line])

    def _checked(self, key: str) -> str:
        line = key.strip(" \t\r\n")
        if len(line) > MAX_LINE_CHARACTERS or not line.isprintable():
            raise _invalid("it must be one line of printable characters")
        try:
            self._load_key(line.encode())
        except ValueError:
            raise _invalid(
                "it must be a type such as ssh-ed25519, the key in base64 and, if wanted, a comment"
            ) from None
        return " ".join(line.split(None, 2))


def fingerprint(line: str) -> str:
    """Returns the fingerprint of a line as `ssh-keygen -l` prints it; empty if there is no key in it."""
    match = re.search(r"(?:^|\s)[a-z][a-z0-9@.-]+ (AAAA[A-Za-z0-9+/]+=*)(?:\s|$)", line)
    try:
        blob = b64decode(match[1], validate=True) if match else b""
    except Base64Error:
        blob = b""
    return f"SHA256:{b64encode(sha256(blob).digest()).decode().rstrip('=')}" if blob else ""


def _is_key(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _invalid(why: str) -> InvalidArgument:
    return InvalidArgument(f"This is not a public key: {why}.", reason="SSH_KEY_INVALID", field="key")
