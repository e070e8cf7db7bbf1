"""Runs one hostapd for each access point.

A process each keeps access points apart: one that is added, changed, removed or dies never disconnects the
stations of another, also on the same radio. The configuration file is the mark that an interface is ours: it
is written before the interface is made and removed after it.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import structlog

from services.common.errors import DomainError, FailedPrecondition
from services.common.files import write_atomically
from services.network.adapters import hostapd_config, hostapd_control
from services.network.adapters.nl80211 import Nl80211
from services.network.adapters.supervised import Supervised
from services.network.adapters.virtual_interfaces import VirtualInterfaces
from services.network.domain import hostapd_text
from services.network.domain.access_points import AccessPointConfig, Health
from services.network.domain.errors import hostapd_unavailable

log = structlog.get_logger()

PREFIX, SUFFIX = "hostapd-", ".conf"
MADE = b"# interface made by paradrop\n"
START_TIMEOUT_S = 20.0
POLL_S = 0.05
ATTACH_RETRY_S = 0.2
RELOAD_TIMEOUT_S = 3.0
CSA_BEACONS = 5
CSA_TIMEOUT_S = 5.0

HwMode = Literal["11a", "11b", "11g"]
EventSink = Callable[[str, str], None]
"""Takes an interface and an event of its hostapd.

"ATTACHED" comes first, whenever events begin to come; "REMOVED" last, when the access point is removed.
"""
RulesOf = Callable[[str], list[str]]
"""Interface to the commands that every fresh hostapd of it is sent."""


@dataclass
class _AccessPoint:
    config: AccessPointConfig
    process: Supervised
    made: bool
    """Whether the interface is ours to remove."""
    follower: asyncio.Task[None] | None = None


class HostapdAccessPoints:
    """The access points of this node."""

    def __init__(
        self,
        folder: Path,
        control_dir: Path,
        kernel: Nl80211,
        sink: EventSink,
        rules_of: RulesOf,
        driver: str = "nl80211",
    ) -> None:
        self._rules_of = rules_of
        self._folder = folder
        self.control_dir = control_dir
        self._interfaces = VirtualInterfaces(kernel, real=driver == "nl80211")
        self._sink = sink
        self._driver = driver
        """"none" lets hostapd run without a radio, with everything but the air."""
        self._running: dict[str, _AccessPoint] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        folder: Path,
        control_dir: Path,
        kernel: Nl80211,
        sink: EventSink,
        rules_of: RulesOf,
        driver: str = "nl80211",
    ) -> AsyncIterator["HostapdAccessPoints"]:
        """Keeps access points for the time of the context and stops them at its end.

        `control_dir` gets the control sockets, each named like its interface; its path has to be short.
        """
        for path in (folder, control_dir):
            await asyncio.to_thread(path.mkdir, 0o700, True, True)
        access_points = cls(folder, control_dir, kernel, sink, rules_of, driver)
        try:
            yield access_points
        finally:
            await access_points._close()

    async def ensure(self, config: AccessPointConfig) -> None:
        """Lets an access point run as the configuration says; see the port."""
        hostapd_config.render(config, self.control_dir, self._driver)  # What is wrong changes nothing.
        async with self._turn(config.interface):
            present = self._running.get(config.interface)
            alive = (
                present is not None and present.process.running and self._interfaces.exists(config.interface)
            )
            if present is not None and alive and present.config == config:
                return
            if present is not None and alive and present.config.radio == config.radio:
                await self._reload(present, config)
                return
            if present is not None:
                await self._stop(present)
            await self._start(config)

    async def remove(self, interface: str) -> None:
        """Stops an access point and removes what was made for it."""
        await self._take_down(interface)
        self._sink(interface, "REMOVED")

    async def _take_down(self, interface: str) -> None:
        async with self._turn(interface):
            present = self._running.pop(interface, None)
            self._interfaces.forget(interface)
            if present is not None:
                await self._stop(present)
            await self._forget(interface)

    async def keep_only(self, interfaces: Collection[str]) -> None:
        """Removes all access points of ours that are not named."""
        files = await asyncio.to_thread(lambda: list(self._folder.glob(f"{PREFIX}*{SUFFIX}")))
        marked = {path.name[len(PREFIX) : -len(SUFFIX)] for path in files}
        for interface in sorted((marked | set(self._running)) - set(interfaces)):
            await self.remove(interface)

    def interface_gone(self, interface: str) -> None:
        """Takes notice that the kernel has removed an interface: its hostapd would wait for ever."""
        present = self._running.get(interface)
        if present is not None and not self._interfaces.exists(interface):
            present.process.kill()  # It is started again, ever more slowly, until the radio is back.

    def health(self, interface: str) -> Health:
        """Tells whether the access point runs now."""
        present = self._running.get(interface)
        if present is not None and present.process.running:
            if self._interfaces.exists(interface):
                return Health(True)
            return Health(False, "RADIO_GONE", f"The radio of {interface} was taken out; plug it in again.")
        why = present.process.exit_reason if present is not None else "it was not started"
        return Health(
            False, "HOSTAPD_UNAVAILABLE", f"hostapd does not run on {interface}: {why or 'it ended'}."
        )

    def config(self, interface: str) -> AccessPointConfig:
        """Returns how an access point is run, or raises Unavailable."""
        present = self._running.get(interface)
        if present is None:
            raise hostapd_unavailable(interface, "no access point was set up")
        return present.config

    async def ask(self, interface: str, command: str) -> str:
        """Sends a command and returns the answer."""
        return await hostapd_control.ask(self.control_dir, interface, command)

    async def order(self, interface: str, command: str) -> None:
        """Sends a command that has to be answered with OK."""
        await hostapd_control.order(self.control_dir, interface, command)

    def session(self, interface: str) -> AbstractAsyncContextManager[hostapd_control.ControlSocket]:
        """Opens the control socket."""
        return hostapd_control.connected(self.control_dir, interface)

    async def set_ssid(self, interface: str, ssid: str) -> str:
        """Changes the name on the air and returns hostapd's word; stations have to join again."""
        hostapd_config.ssid_value(ssid)
        async with self._turn(interface):
            config = replace(self.config(interface), ssid=ssid)
            try:
                await self._reload(self._running[interface], config)
            except FailedPrecondition:
                return "FAIL"
        return "OK"

    async def apply_rules(self, interface: str) -> None:
        """Sends the rules of an access point, which may have changed; there may be none now."""
        present = self._running.get(interface)
        if present is not None:
            await self._send_rules(present)

    async def switch_channel(self, phy: str, channel: int, frequency_mhz: int) -> list[str]:
        """Announces a new channel on all access points of a radio at once and waits until they are there.

        Returns their interfaces; raises FailedPrecondition (CHANNEL_SWITCH_REFUSED) if they stay.
        """
        moving = [name for name, present in self._running.items() if present.config.radio.phy == phy]
        command = f"CHAN_SWITCH {CSA_BEACONS} {frequency_mhz}"
        answers = await asyncio.gather(
            *(hostapd_control.ask(self.control_dir, name, command) for name in moving), return_exceptions=True
        )
        arrived = await asyncio.gather(*(self._arrival(name, frequency_mhz) for name in moving))
        if not moving or not all(arrived):
            said = ", ".join(str(answer).strip() for answer in answers) or "no access point runs on it"
            raise FailedPrecondition(
                f"Radio {phy} did not change to channel {channel}: {said}.",
                reason="CHANNEL_SWITCH_REFUSED",
                phy=phy,
                channel=str(channel),
            )
        for name in moving:
            present = self._running[name]
            hwmode: HwMode = "11a" if frequency_mhz > 5000 else "11g"
            if present.config.radio.hwmode == "11b" and hwmode == "11g":
                hwmode = "11b"
            radio = replace(present.config.radio, channel=channel, hwmode=hwmode)
            present.config = replace(present.config, radio=radio)
            # What is written is read only by the next hostapd.
            await self._write(present.config, present.made)
        return moving

    async def _arrival(self, interface: str, frequency_mhz: int) -> bool:
        with contextlib.suppress(TimeoutError, DomainError):
            async with asyncio.timeout(CSA_TIMEOUT_S):
                while True:
                    # hostapd tells the new channel while it announces it; the kernel tells where it is.
                    found = await self._interfaces.find(interface)
                    if found is not None and found.frequency_mhz == frequency_mhz:
                        return True
                    await asyncio.sleep(POLL_S)
        return False

    def _turn(self, interface: str) -> asyncio.Lock:
        return self._turns.setdefault(interface, asyncio.Lock())

    def _file(self, interface: str) -> Path:
        return self._folder / f"{PREFIX}{interface}{SUFFIX}"

    async def _write(self, config: AccessPointConfig, made: bool) -> None:
        content = hostapd_config.render(config, self.control_dir, self._driver)
        await asyncio.to_thread(
            write_atomically, self._file(config.interface), (MADE if made else b"") + content
        )

    async def _reload(self, present: _AccessPoint, config: AccessPointConfig) -> None:
        before = present.config
        await self._write(config, present.made)
        try:
            # The command RELOAD does not read the file, and keeps keys that were made with the old name.
            present.process.reload()
            await self._reloaded(config)
        except DomainError:
            await self._write(before, present.made)
            present.process.reload()
            raise
        present.config = config
        await self._send_rules(present)

    async def _reloaded(self, config: AccessPointConfig) -> None:
        """Waits until hostapd tells the name that it was given."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RELOAD_TIMEOUT_S):
                while True:
                    reply = await hostapd_control.ask(self.control_dir, config.interface, "GET_CONFIG")
                    if hostapd_text.parse(reply).get("ssid") == config.ssid:
                        return
                    await asyncio.sleep(POLL_S)
        raise FailedPrecondition(
            f"hostapd did not take over the configuration of {config.interface}.",
            reason="HOSTAPD_REFUSED",
            command="RELOAD",
            interface=config.interface,
        )

    async def _start(self, config: AccessPointConfig) -> None:
        interface = config.interface
        program = await asyncio.to_thread(shutil.which, "hostapd", path=_path())
        if program is None:
            raise hostapd_unavailable(interface, "hostapd is not installed; install the package hostapd")
        made = await self._make_interface(config)
        await self._write(config, made)
        present = _AccessPoint(config, Supervised("hostapd", []), made)
        present.process = Supervised(
            f"hostapd {interface}", [program, str(self._file(interface))], lambda: self._restarted(present)
        )
        self._running[interface] = present
        try:
            if made:
                await self._interfaces.create(config)
            await present.process.start()
            await self._sending(present)
        except BaseException:
            self._running.pop(interface, None)
            await self._stop(present)
            await self._forget(interface)
            raise
        present.follower = asyncio.create_task(self._follow(interface))

    async def _make_interface(self, config: AccessPointConfig) -> bool:
        """Tells whether the interface has to be made, or was made by us before a crash."""
        if self._driver != "nl80211":
            return False
        if await self._interfaces.find(config.interface) is None:
            return True
        file = self._file(config.interface)
        return await asyncio.to_thread(lambda: file.exists() and file.read_bytes().startswith(MADE))

    async def _sending(self, present: _AccessPoint) -> None:
        """Waits until the access point sends, or raises with hostapd's own words."""
        interface = present.config.interface
        ended = asyncio.create_task(present.process.ended())
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not ended.done():
                    with contextlib.suppress(DomainError):
                        reply = await hostapd_control.ask(self.control_dir, interface, "STATUS")
                        if hostapd_text.parse(reply).get("state") == "ENABLED":
                            await self._send_rules(present)
                            return
                    await asyncio.sleep(POLL_S)
                await asyncio.sleep(POLL_S)  # Its last words are on their way.
        except TimeoutError:
            pass
        finally:
            ended.cancel()
        said = present.process.last_words[-300:].replace("\n", "; ") or "it said nothing"
        raise FailedPrecondition(
            f"hostapd cannot run on {interface}: {said}",
            reason="HOSTAPD_FAILED",
            interface=interface,
            said=said,
        )

    async def _send_rules(self, present: _AccessPoint) -> None:
        for command in self._rules_of(present.config.interface):
            await hostapd_control.order(self.control_dir, present.config.interface, command)

    async def _restarted(self, present: _AccessPoint) -> None:
        if present.made and await self._interfaces.find(present.config.interface) is None:
            await self._interfaces.create(present.config)  # Its radio was taken out and has come back.
        await self._sending(present)
        # A datagram socket does not tell that its peer has gone: listen to the new one at once.
        await self._unfollow(present)
        present.follower = asyncio.create_task(self._follow(present.config.interface))

    async def _follow(self, interface: str) -> None:
        """Passes events on for as long as the access point is wanted."""
        while True:
            with contextlib.suppress(DomainError):
                async with hostapd_control.attached(self.control_dir, interface) as events:
                    self._sink(interface, "ATTACHED")
                    async for event in events:
                        self._sink(interface, event)
            await asyncio.sleep(ATTACH_RETRY_S)

    async def _unfollow(self, present: _AccessPoint) -> None:
        if present.follower is not None:
            present.follower.cancel()
            await asyncio.gather(present.follower, return_exceptions=True)

    async def _stop(self, present: _AccessPoint) -> None:
        await present.process.stop()
        await self._unfollow(present)

    async def _forget(self, interface: str) -> None:
        """Removes the interface, if it is ours, and then the mark."""
        file = self._file(interface)
        made = await asyncio.to_thread(lambda: file.exists() and file.read_bytes().startswith(MADE))
        if made:
            found = await self._interfaces.find(interface)
            if found is not None:
                await self._interfaces.remove(interface)
        await asyncio.to_thread(file.unlink, True)

    async def _close(self) -> None:
        for interface in list(self._running):
            try:
                await self._take_down(interface)
            except DomainError as error:
                log.warning("access point is left behind", interface=interface, reason=error.reason)


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
