"""Slows down guessing: refusals make the next attempt wait, longer each time, but never for good."""

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address

from services.auth.domain.ports import Clock
from services.common.errors import ResourceExhausted

MAX_DELAY_S = 60.0
FORGET_AFTER_S = 900.0


class LoginThrottled(ResourceExhausted):
    """Too many refusals went before this attempt; it was not looked at."""

    def __init__(self, wait_s: float, *, is_first: bool) -> None:
        seconds = math.ceil(wait_s)
        super().__init__(
            f"Too many wrong passwords; try again in {seconds} s.",
            reason="LOGIN_THROTTLED",
            retry_after_s=wait_s,
            retry_after_seconds=str(seconds),
        )
        self.is_first = is_first
        """Whether no attempt was turned away since the last one that was looked at."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How much is let through for one key."""

    free: int
    """Refusals without any delay."""
    tolerated: int
    """Attempts turned away in one delay before known credentials wait as well."""
    capacity: int = 4096
    """Keys that are remembered; the ones longest quiet go first."""


PER_USER_AND_ADDRESS = Limit(free=5, tolerated=20)
PER_ADDRESS = Limit(free=30, tolerated=100)


@dataclass(slots=True)
class _Streak:
    failures: int = 0
    failed_s: float = -math.inf
    blocked_until_s: float = -math.inf
    turned_away: int = 0


@dataclass(slots=True)
class Attempt:
    """One attempt that is being looked at; it counts as a failure until somebody says otherwise."""

    undo: list[tuple[_Streak, float]] = field(default_factory=list)

    def withdraw(self) -> None:
        """Takes back that the attempt was made."""
        for streak, blocked_until_s in self.undo:
            streak.failures -= 1
            streak.blocked_until_s = blocked_until_s
        self.undo.clear()


class _Limiter:
    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._streaks: OrderedDict[object, _Streak] = OrderedDict()

    def find(self, key: object, now: float) -> _Streak | None:
        streak = self._streaks.get(key)
        if streak and now - streak.failed_s > FORGET_AFTER_S:
            del self._streaks[key]
            return None
        return streak

    def fail(self, key: object, now: float) -> tuple[_Streak, float]:
        streak = self.find(key, now)
        if streak is None:
            streak = self._streaks[key] = _Streak()
            if len(self._streaks) > self._limit.capacity:
                self._streaks.popitem(last=False)
        self._streaks.move_to_end(key)
        before_s = streak.blocked_until_s
        streak.failures += 1
        streak.failed_s = now
        streak.turned_away = 0
        over = streak.failures - self._limit.free
        if over > 0:
            streak.blocked_until_s = now + min(MAX_DELAY_S, 2.0 ** min(over - 1, 16))
        return streak, before_s

    def forget(self, key: object) -> None:
        self._streaks.pop(key, None)

    def lets_known_pass(self, key: object, now: float) -> bool:
        streak = self.find(key, now)
        return streak is None or streak.blocked_until_s <= now or streak.turned_away <= self._limit.tolerated


class LoginThrottle:
    """Counts refusals for each user and address, and more loosely for each address.

    The delay doubles up to a minute and grows no further, and attempts during a delay do not prolong it, so
    the owner waits a minute at worst; from another address not at all.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pairs = _Limiter(PER_USER_AND_ADDRESS)
        self._addresses = _Limiter(PER_ADDRESS)

    def begin(self, username: str, address: str) -> Attempt:
        """Begins an attempt or raises `LoginThrottled`.

        It counts from here on, not from its end: otherwise any number of attempts at once would be free.
        """
        now = self._clock()
        network = network_of(address)
        keys: tuple[tuple[_Limiter, object], ...] = (
            (self._addresses, network),
            (self._pairs, (username, network)),
        )
        blocking = [
            streak
            for limiter, key in keys
            if (streak := limiter.find(key, now)) and streak.blocked_until_s > now
        ]
        if blocking:
            is_first = all(streak.turned_away == 0 for streak in blocking)
            for streak in blocking:
                streak.turned_away += 1
            raise LoginThrottled(max(streak.blocked_until_s for streak in blocking) - now, is_first=is_first)
        return Attempt([limiter.fail(key, now) for limiter, key in keys])

    def succeed(self, attempt: Attempt, username: str, address: str) -> None:
        """Forgets the user's refusals at the address; what others were refused there stays."""
        attempt.withdraw()
        self._pairs.forget((username, network_of(address)))

    def lets_known_pass(self, username: str, address: str) -> bool:
        """Tells whether credentials that were right a moment ago may pass without an attempt.

        A client with an old password must not stop one with the right password at the same address. Whoever
        guesses fast must not learn from an answer out of the cache either, so the tolerance is small.
        """
        now = self._clock()
        network = network_of(address)
        return self._pairs.lets_known_pass((username, network), now) and self._addresses.lets_known_pass(
            network, now
        )


@lru_cache(1024)
def network_of(address: str) -> str:
    """Returns what one attacker can have all addresses of: an IPv6 /64, or the address itself."""
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address)
    except ValueError:
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> 64 << 64))
