"""Everybody who can call this node, in memory, so that no request waits for the database."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from typing import Any, TypeVar

from services.auth.domain.model import ChuteToken, User
from services.auth.domain.ports import Publisher, Store
from services.common.identity import SYSTEM, Role

T = TypeVar("T")


class Directory:
    """Users, chutes and the services of the node; what changes here is stored and then published."""

    def __init__(self, store: Store, publisher: Publisher) -> None:
        self._store = store
        self._publisher = publisher
        self._users: dict[str, User] = {}
        self._chutes: dict[str, ChuteToken] = {}
        self._chutes_by_digest: dict[bytes, ChuteToken] = {}
        self._service_generation = 0
        self._one_change = asyncio.Lock()
        self._changes: set[asyncio.Future[Any]] = set()

    async def load(self) -> None:
        """Reads the store, ends the services' older tokens and publishes."""
        self._users = {user.name: user for user in await self._store.users()}
        for token in await self._store.chute_tokens():
            self._chutes[token.chute] = token
            self._chutes_by_digest[token.digest] = token
        self._service_generation = await self._store.next_generation()
        await self._publish()

    @property
    def service_generation(self) -> int:
        """The generation of the token with which the services call each other."""
        return self._service_generation

    def user(self, name: str) -> User | None:
        """Returns a user by name."""
        return self._users.get(name)

    def users(self) -> Sequence[User]:
        """Returns all users by name."""
        return sorted(self._users.values(), key=lambda user: user.name)

    def token_of(self, chute: str) -> ChuteToken | None:
        """Returns the token of a chute, if it has one."""
        return self._chutes.get(chute)

    def chute_of(self, token: str) -> ChuteToken | None:
        """Returns whose token this is.

        It has 128 random bits and is looked up by its hash, so the time that takes tells nothing about it.
        """
        return self._chutes_by_digest.get(digest(token))

    async def change(self, work: Callable[[], Awaitable[T]]) -> T:
        """Runs one change at a time, each to its end even when its caller goes away.

        Otherwise a password could change in the store and the old one stay good here.
        """

        async def alone() -> T:
            async with self._one_change:
                return await work()

        task = asyncio.ensure_future(alone())
        self._changes.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Future[Any]) -> None:
        self._changes.discard(task)
        if not task.cancelled():
            task.exception()  # Looked at, because the caller may no longer be there to do so.

    async def settle(self) -> None:
        """Waits for the changes that have begun; called when no new ones can begin."""
        await asyncio.gather(*self._changes, return_exceptions=True)

    async def put_user(self, name: str, role: Role, password_hash: str, created_s: float) -> User:
        """Adds or replaces a user; all tokens of the name end. Only from within `change`."""
        user = await self._store.put_user(name, role, password_hash, created_s)
        self._users[name] = user
        await self._publish()
        return user

    async def delete_user(self, name: str) -> None:
        """Removes a user; all its tokens end. Only from within `change`."""
        await self._store.delete_user(name)
        del self._users[name]
        await self._publish()

    async def put_chute_token(self, chute: str, token: bytes, former: bytes | None = None) -> None:
        """Gives a chute a token, known by its hash; all others end. Only from within `change`."""
        added = await self._store.put_chute_token(chute, token, former)
        self._forget_chute(chute)
        self._chutes[chute] = added
        self._chutes_by_digest[added.digest] = added
        await self._publish()

    async def delete_chute_token(self, chute: str) -> None:
        """Ends the token of a chute, if it has one. Only from within `change`."""
        await self._store.delete_chute_token(chute)
        self._forget_chute(chute)
        await self._publish()

    def _forget_chute(self, chute: str) -> None:
        former = self._chutes.pop(chute, None)
        if former:
            del self._chutes_by_digest[former.digest]

    async def _publish(self) -> None:
        await self._publisher.publish(
            {
                "users": {user.name: _published(user.generation, user.role) for user in self._users.values()},
                "chutes": {
                    chute: _published(token.generation, token.principal.role)
                    for chute, token in self._chutes.items()
                },
                "services": {SYSTEM.name: _published(self._service_generation, SYSTEM.role)},
            }
        )


def digest(token: str) -> bytes:
    """Returns what is kept of a chute's token."""
    return sha256(token.encode()).digest()


def _published(generation: int, role: Role) -> dict[str, Any]:
    return {"generation": generation, "role": role.name.lower()}
