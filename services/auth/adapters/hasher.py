"""Argon2id in threads, few at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from services.common.errors import ResourceExhausted

# OWASP's second choice: a board with 1 GB and a slow core needs well under a second for it.
TIME_COST = 2
MEMORY_COST_KIB = 19 * 1024
PARALLELISM = 1
AT_ONCE = 2
MAX_WAITING = 32


class Argon2Hasher:
    """Hashes passwords without holding up anything else."""

    def __init__(self, memory_cost_kib: int = MEMORY_COST_KIB) -> None:
        self._argon2 = PasswordHasher(TIME_COST, memory_cost_kib, PARALLELISM)
        self._places = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self.dummy = self._argon2.hash("the password of nobody")

    async def hash(self, password: str) -> str:
        """Returns a hash of a new password."""
        async with self._place():
            return await asyncio.to_thread(self._argon2.hash, password)

    async def matches(self, password_hash: str, password: str) -> bool:
        """Tells whether a hash is of a password."""
        async with self._place():
            return await asyncio.to_thread(self._matches, password_hash, password)

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._argon2.verify(password_hash, password)
        except VerifyMismatchError:
            return False

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._waiting >= MAX_WAITING:
            raise ResourceExhausted(
                "Too many logins at once; try again in a moment.", reason="LOGIN_BUSY", retry_after_s=1
            )
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._places.release()
