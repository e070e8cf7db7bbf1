"""Runs one hostapd for each access point.

A process each keeps access points apart: one that is added, changed, removed or dies never disconnects the
stations of another, also on the same radio.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import structlog

from services.common.errors import DomainError, FailedPrecondition
from services.network.adapters import hostapd_config, hostapd_control
from services.network.adapters.access_point import (
    POLL_S,
    AccessPoint,
    EventSink,
    RulesOf,
    Surroundings,
)
from services.network.adapters.nl80211 import Nl80211
from services.network.adapters.virtual_interfaces import VirtualInterfaces
from services.network.domain.access_points import AccessPointConfig, Health, RadioConfig
from services.network.domain.errors import hostapd_unavailable

log = structlog.get_logger()

CSA_BEACONS = 5
CSA_TIMEOUT_S = 5.0

HwMode = Literal["11a", "11b", "11g"]


class HostapdAccessPoints:
    """The access points of this node."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._running: dict[str, AccessPoint] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._switched: dict[str, tuple[RadioConfig, RadioConfig]] = {}
        """Radio whose channel was switched to how it is configured and how it is run instead."""

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
        interfaces = VirtualInterfaces(kernel, real=driver == kernel.driver)
        access_points = cls(Surroundings(folder, control_dir, interfaces, sink, rules_of, driver))
        try:
            yield access_points
        finally:
            await access_points._close()

    async def ensure(self, config: AccessPointConfig) -> None:
        """Lets an access point run as the configuration says; see the port."""
        # What is wrong changes nothing.
        hostapd_config.render(config, self._around.control_dir, self._around.driver)
        async with self._turn(config.interface):
            config = self._as_switched(config)
            present = self._running.get(config.interface)
            if present is not None and present.alive and present.config.radio == config.radio:
                if present.config != config:
                    await present.reload(config)
                return
            await self._start(config, present)

    def _as_switched(self, config: AccessPointConfig) -> AccessPointConfig:
        """Returns a configuration on the channel to which its radio was switched meanwhile."""
        configured, now = self._switched.get(config.radio.phy, (None, config.radio))
        return replace(config, radio=now) if config.radio == configured else config

    async def _start(self, config: AccessPointConfig, present: AccessPoint | None) -> None:
        """Starts an access point; a radio is run in one way, so that its others come along to a new one."""
        others = [
            point
            for point in self._running.values()
            if point is not present
            and point.config.radio.phy == config.radio.phy
            and point.config.radio != config.radio
        ]
        for other in others:
            await other.stop()
        try:
            if present is not None and present.alive:
                await present.restart(config)
            else:
                if present is not None:
                    await present.stop()
                self._running[config.interface] = AccessPoint(config, self._around)
                await self._running[config.interface].start()
        except BaseException:
            self._running.pop(config.interface, None)
            for other in others:
                await self._again(other, other.config.radio)
            raise
        for other in others:
            await self._again(other, config.radio)
        if self._switched.get(config.radio.phy, (None, config.radio))[1] != config.radio:
            del self._switched[config.radio.phy]  # It is configured otherwise now.

    async def _again(self, point: AccessPoint, radio: RadioConfig) -> None:
        try:
            await point.restart(replace(point.config, radio=radio))
        except DomainError as error:
            log.error("an access point is lost", interface=point.interface, reason=error.reason)
            self._running.pop(point.interface, None)

    async def remove(self, interface: str) -> None:
        """Stops an access point and removes what was made for it."""
        await self._take_down(interface)
        self._around.sink(interface, "REMOVED")

    async def _take_down(self, interface: str) -> None:
        async with self._turn(interface):
            present = self._running.pop(interface, None)
            self._around.interfaces.forget(interface)
            if present is not None:
                await present.stop()
                phy = present.config.radio.phy
                if all(point.config.radio.phy != phy for point in self._running.values()):
                    self._switched.pop(phy, None)
            await self._around.forget(interface)

    async def keep_only(self, interfaces: Collection[str]) -> None:
        """Removes all access points of ours that are not named."""
        marked = await asyncio.to_thread(self._around.marked)
        for interface in sorted((marked | set(self._running)) - set(interfaces)):
            await self.remove(interface)

    def interface_gone(self, interface: str) -> None:
        """Takes notice that the kernel has removed an interface: its hostapd would wait for ever."""
        present = self._running.get(interface)
        if present is not None and not self._around.interfaces.exists(interface):
            present.process.kill()  # It is started again, ever more slowly, until the radio is back.

    def health(self, interface: str) -> Health:
        """Tells whether the access point runs now."""
        present = self._running.get(interface)
        if present is not None and present.process.running:
            if self._around.interfaces.exists(interface):
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
        return await hostapd_control.ask(self._around.control_dir, interface, command)

    async def order(self, interface: str, command: str) -> None:
        """Sends a command that has to be answered with OK."""
        await hostapd_control.order(self._around.control_dir, interface, command)

    def session(self, interface: str) -> AbstractAsyncContextManager[hostapd_control.ControlSocket]:
        """Opens the control socket."""
        return hostapd_control.connected(self._around.control_dir, interface)

    async def set_ssid(self, interface: str, ssid: str) -> str:
        """Changes the name on the air and returns hostapd's word; stations have to join again.

        The name that it has already disturbs nobody.
        """
        hostapd_config.ssid_value(ssid)
        async with self._turn(interface):
            config, present = self.config(interface), self._running[interface]
            config = replace(config, bss=replace(config.bss, ssid=ssid))
            # A caller with the control socket may have changed it past us.
            if present.config == config and await present.named() == ssid:
                return "OK"
            try:
                await present.reload(config)
            except FailedPrecondition:
                return "FAIL"
        return "OK"

    async def apply_rules(self, interface: str) -> None:
        """Sends the rules of an access point, which may have changed; there may be none now."""
        present = self._running.get(interface)
        if present is not None:
            await present.send_rules()

    async def switch_channel(self, phy: str, channel: int, frequency_mhz: int) -> list[str]:
        """Announces a new channel on all access points of a radio at once and waits until they are there.

        Returns their interfaces; raises FailedPrecondition (CHANNEL_SWITCH_REFUSED) if they stay.
        """
        moving = [name for name, present in self._running.items() if present.config.radio.phy == phy]
        command = f"CHAN_SWITCH {CSA_BEACONS} {frequency_mhz}"
        answers = await asyncio.gather(
            *(hostapd_control.ask(self._around.control_dir, name, command) for name in moving),
            return_exceptions=True,
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
            configured, _ = self._switched.get(phy, (present.config.radio, radio))
            self._switched[phy] = (configured, radio)
            present.config = replace(present.config, radio=radio)
            # What is written is read only by the next hostapd.
            await present.write()
        return moving

    async def _arrival(self, interface: str, frequency_mhz: int) -> bool:
        with contextlib.suppress(TimeoutError, DomainError):
            async with asyncio.timeout(CSA_TIMEOUT_S):
                while True:
                    # hostapd tells the new channel while it announces it; the kernel tells where it is.
                    found = await self._around.interfaces.find(interface)
                    if found is not None and found.frequency_mhz == frequency_mhz:
                        return True
                    await asyncio.sleep(POLL_S)
        return False

    def _turn(self, interface: str) -> asyncio.Lock:
        return self._turns.setdefault(interface, asyncio.Lock())

    async def _close(self) -> None:
        for interface in list(self._running):
            try:
                await self._take_down(interface)
            except DomainError as error:
                log.warning("access point is left behind", interface=interface, reason=error.reason)
