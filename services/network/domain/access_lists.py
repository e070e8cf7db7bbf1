"""Who may join which access point: a list that holds, and bans that end."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from services.common.errors import DomainError, InvalidArgument
from services.network.domain.stations import normal_mac
from services.network.domain.wireless_ports import AccessPointControl

MAX_MACS = 512
MAX_BAN_S = 30 * 24 * 3600

Mode = Literal["deny", "allow"]


@dataclass(frozen=True, slots=True)
class AccessList:
    """All but these may join, or only these."""

    mode: Mode = "deny"
    macs: tuple[str, ...] = ()


@dataclass
class _Rules:
    list: AccessList = AccessList()
    bans: dict[str, float] = field(default_factory=dict)
    """Address to the second since 1970 from which it may come in again."""
    timer: asyncio.TimerHandle | None = None

    @property
    def kept(self) -> bool:
        """Whether there is anything to be kept over a restart."""
        return self.list != AccessList() or bool(self.bans)


class RuleStore(Protocol):
    """Keeps the rules over restarts; written only when somebody changes them."""

    async def load(self) -> Mapping[str, Any]:
        """Returns what was saved last."""

    async def save(self, rules: Mapping[str, Any]) -> None:
        """Replaces what is kept."""


class AccessLists:
    """The rules of all access points, by interface; hostapd is told after each of its starts."""

    def __init__(self, control: AccessPointControl, store: RuleStore, clock: Callable[[], float]) -> None:
        self._control = control
        self._store = store
        self._clock = clock
        self._rules: dict[str, _Rules] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def load(self) -> None:
        """Reads what was kept."""
        for interface, kept in (await self._store.load()).items():
            rules = _Rules(AccessList(kept["mode"], tuple(kept["macs"])), dict(kept["bans"]))
            self._rules[interface] = rules
            self._schedule(interface, rules)

    def access_list(self, interface: str) -> AccessList:
        """Returns who may join."""
        return self._of(interface).list

    def bans(self, interface: str) -> list[tuple[str, float]]:
        """Returns who is kept out and until when (seconds since 1970), by address."""
        now_s = self._clock()
        return sorted((mac, until_s) for mac, until_s in self._of(interface).bans.items() if until_s > now_s)

    async def set_list(self, interface: str, mode: Mode, macs: Iterable[str]) -> AccessList:
        """Replaces the list; stations that may not stay are sent away."""
        checked = sorted({normal_mac(mac, "access_list.macs") for mac in macs})
        if len(checked) > MAX_MACS:
            raise InvalidArgument(
                f"An access list has at most {MAX_MACS} addresses.",
                reason="ACCESS_LIST_TOO_LONG",
                field="access_list.macs",
            )
        rules = self._of(interface)
        before, rules.list = rules.list, AccessList(mode, tuple(checked))
        try:
            await self._control.apply_rules(interface)
        except DomainError:
            rules.list = before
            raise
        await self._save()
        return rules.list

    async def ban(self, interface: str, mac: str, ban_s: int) -> float:
        """Keeps a station out; returns until when (seconds since 1970)."""
        if not 0 < ban_s <= MAX_BAN_S:
            raise InvalidArgument(
                f"ban_s is a number of seconds from 0 to {MAX_BAN_S}.",
                reason="BAN_TIME_INVALID",
                field="ban_s",
            )
        rules = self._of(interface)
        before = rules.bans.get(mac)
        rules.bans[mac] = until_s = self._clock() + ban_s
        try:
            await self._control.apply_rules(interface)
        except DomainError:
            if before is None:
                del rules.bans[mac]
            else:
                rules.bans[mac] = before
            raise
        self._schedule(interface, rules)
        await self._save()
        return until_s

    async def lift(self, interface: str, mac: str) -> None:
        """Lets a station in again."""
        rules = self._of(interface)
        if rules.bans.pop(mac, None) is not None:
            await self._control.apply_rules(interface)
            await self._save()

    def commands(self, interface: str) -> list[str]:
        """Returns what every fresh hostapd of the access point is told."""
        rules = self._of(interface)
        denied = {mac for mac, until_s in rules.bans.items() if until_s > self._clock()}
        allowed: set[str] = set()
        if rules.list.mode == "deny":
            denied |= set(rules.list.macs)
        else:
            allowed = set(rules.list.macs) - denied
        commands = [
            "DENY_ACL CLEAR",
            "ACCEPT_ACL CLEAR",
            f"SET macaddr_acl {int(rules.list.mode == 'allow')}",
        ]
        commands += [f"ACCEPT_ACL ADD_MAC {mac}" for mac in sorted(allowed)]
        return commands + [f"DENY_ACL ADD_MAC {mac}" for mac in sorted(denied)]

    async def forget(self, interface: str) -> None:
        """Drops the rules of a network that is removed."""
        rules = self._rules.pop(interface, None)
        if rules is not None:
            if rules.timer is not None:
                rules.timer.cancel()
            if rules.kept:
                await self._save()

    def close(self) -> None:
        """Stops waiting for the ends of bans."""
        for rules in self._rules.values():
            if rules.timer is not None:
                rules.timer.cancel()
        for task in self._tasks:
            task.cancel()

    def _of(self, interface: str) -> _Rules:
        return self._rules.setdefault(interface, _Rules())

    def _schedule(self, interface: str, rules: _Rules) -> None:
        """Sets one timer for the ban that ends first."""
        if rules.timer is not None:
            rules.timer.cancel()
            rules.timer = None
        if rules.bans:
            delay_s = max(0.0, min(rules.bans.values()) - self._clock())
            rules.timer = asyncio.get_running_loop().call_later(delay_s, self._expire, interface)

    def _expire(self, interface: str) -> None:
        task = asyncio.create_task(self._lift_ended(interface))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _lift_ended(self, interface: str) -> None:
        rules = self._of(interface)
        now_s = self._clock()
        rules.bans = {mac: until_s for mac, until_s in rules.bans.items() if until_s > now_s}
        self._schedule(interface, rules)
        # Without an access point now, the next start of it is told without the ban.
        with contextlib.suppress(DomainError):
            await self._control.apply_rules(interface)
        await self._save()

    async def _save(self) -> None:
        kept = {
            interface: {"mode": rules.list.mode, "macs": list(rules.list.macs), "bans": rules.bans}
            for interface, rules in self._rules.items()
            if rules.kept
        }
        await self._store.save(kept)
