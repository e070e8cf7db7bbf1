"""Verifies user names and passwords, cheaply when it has just done so."""

import asyncio
import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, TypeVar

from services.auth.domain.audit import Audit
from services.auth.domain.directory import Directory
from services.auth.domain.model import MAX_PASSWORD_BYTES, Outcome, User, is_username, login_failed
from services.auth.domain.ports import Clock, Hasher
from services.auth.domain.throttle import FORGET_AFTER_S, LoginThrottle, LoginThrottled

KNOWN_FOR_S = 60.0
REFUSED_FOR_S = FORGET_AFTER_S
MAX_KNOWN = 1024


@dataclass(frozen=True, slots=True)
class _Known:
    user: User
    until_s: float


@dataclass(frozen=True, slots=True)
class _Refused:
    user: User | None
    until_s: float


_T = TypeVar("_T", _Known, _Refused)


class Authenticator:
    """Says which user a name and a password belong to.

    Credentials that were right are known for a minute, by a MAC under a key of this process, for the address
    they came from, and only as long as the user does not change. Wrong ones are known likewise: to repeat one
    is no guess, so it is refused again without a hash, and slows nobody down.
    """

    def __init__(
        self, directory: Directory, hasher: Hasher, throttle: LoginThrottle, audit: Audit, clock: Clock
    ) -> None:
        self._directory = directory
        self._hasher = hasher
        self._throttle = throttle
        self._audit = audit
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._refused: OrderedDict[bytes, _Refused] = OrderedDict()
        self._running: dict[bytes, asyncio.Task[User]] = {}

    async def verify(self, username: str, password: str, address: str) -> User:
        """Returns the user, or raises `Unauthenticated` or `LoginThrottled`."""
        encoded = password.encode()
        if not encoded or len(encoded) > MAX_PASSWORD_BYTES or not is_username(username):
            # Nobody has such credentials, so this tells nothing and is worth neither a hash nor a count.
            raise login_failed()
        # A NUL cannot be in a user name, so the parts cannot run into each other.
        mac = hmac.digest(self._key, b"\0".join((address.encode(), username.encode(), encoded)), "sha256")
        refused = self._refused.get(mac)
        if refused and self._is_current(refused, username):
            raise login_failed()
        known = self._known.get(mac)
        if known and self._is_current(known, username) and self._throttle.lets_known_pass(username, address):
            return known.user
        # Requests come in bursts: the same credentials at the same time are one attempt.
        task = self._running.get(mac)
        if task is None:
            task = asyncio.create_task(self._attempt(mac, username, password, address))
            self._running[mac] = task
            task.add_done_callback(lambda done: self._finished(mac, done))
        return await asyncio.shield(task)

    async def settle(self) -> None:
        """Waits for the attempts that have begun; called when no new ones can begin."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _is_current(self, known: _Known | _Refused, username: str) -> bool:
        return self._clock() < known.until_s and self._directory.user(username) is known.user

    def _finished(self, mac: bytes, task: asyncio.Task[Any]) -> None:
        del self._running[mac]
        if not task.cancelled():
            task.exception()  # Looked at, because every caller may be gone.

    async def _attempt(self, mac: bytes, username: str, password: str, address: str) -> User:
        try:
            attempt = self._throttle.begin(username, address)
        except LoginThrottled as refusal:
            if refusal.is_first:
                await self._audit.record(username, address, Outcome.THROTTLED)
            raise
        user = self._directory.user(username)
        try:
            matches = await self._hasher.matches(user.password_hash if user else self._hasher.dummy, password)
        except BaseException:
            attempt.withdraw()
            raise
        # The user may have changed or gone while the hash was computed.
        if matches and user and self._directory.user(username) is user:
            self._throttle.succeed(attempt, username, address)
            _remember(self._known, mac, _Known(user, self._clock() + KNOWN_FOR_S))
            return user
        _remember(self._refused, mac, _Refused(user, self._clock() + REFUSED_FOR_S))
        await self._audit.record(username, address, Outcome.REFUSED)
        raise login_failed()


def _remember(memory: OrderedDict[bytes, _T], mac: bytes, known: _T) -> None:
    memory[mac] = known
    memory.move_to_end(mac)
    if len(memory) > MAX_KNOWN:
        memory.popitem(last=False)
