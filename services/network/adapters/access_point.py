"""One access point: its file, its interface, its hostapd, and the events of that.

The configuration file is the mark that an interface is ours: it is written before the interface is made and
removed after it.
"""

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from services.common.children import program_path
from services.common.errors import DomainError, FailedPrecondition
from services.common.files import write_atomically
from services.network.adapters import hostapd_config, hostapd_control
from services.network.adapters.supervised import Supervised
from services.network.adapters.virtual_interfaces import VirtualInterfaces
from services.network.domain import hostapd_text
from services.network.domain.access_points import AccessPointConfig
from services.network.domain.errors import hostapd_unavailable

PREFIX, SUFFIX = "hostapd-", ".conf"
MADE = b"# interface made by paradrop\n"
START_TIMEOUT_S = 20.0
POLL_S = 0.05
ATTACH_RETRY_S = 0.2
RELOAD_TIMEOUT_S = 3.0

EventSink = Callable[[str, str], None]
"""Takes an interface and an event of its hostapd.

"ATTACHED" comes first, whenever events begin to come; "REMOVED" last, when the access point is removed.
"REMADE" says that its interface was made anew, so that it has lost its address.
"""
RulesOf = Callable[[str], list[str]]
"""Interface to the commands that every fresh hostapd of it is sent."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all access points of a node share."""

    folder: Path
    """Folder of the configuration files."""
    control_dir: Path
    """Folder of the control sockets, each named like its interface."""
    interfaces: VirtualInterfaces
    sink: EventSink
    rules_of: RulesOf
    driver: str
    """Of hostapd: "nl80211", or "none" for everything but the air."""

    def file(self, interface: str) -> Path:
        """Returns the configuration file of an access point."""
        return self.folder / f"{PREFIX}{interface}{SUFFIX}"

    def marked(self) -> set[str]:
        """Returns the interfaces of all access points that have a file."""
        return {path.name[len(PREFIX) : -len(SUFFIX)] for path in self.folder.glob(f"{PREFIX}*{SUFFIX}")}

    async def forget(self, interface: str) -> None:
        """Removes the interface, if it is ours, and then the mark."""
        file = self.file(interface)
        if await asyncio.to_thread(_is_made, file):
            found = await self.interfaces.find(interface)
            if found is not None:
                await self.interfaces.remove(interface)
        await asyncio.to_thread(file.unlink, True)


class AccessPoint:
    """An access point that was started; it runs until it is stopped."""

    def __init__(self, config: AccessPointConfig, around: Surroundings) -> None:
        self.config = config
        self.process = Supervised(f"hostapd {config.interface}", [])
        self._around = around
        self._made = False
        """Whether the interface is ours to remove."""
        self._follower: asyncio.Task[None] | None = None

    @property
    def interface(self) -> str:
        """Name of its interface."""
        return self.config.interface

    @property
    def alive(self) -> bool:
        """Whether it runs now, and its radio is there."""
        return self.process.running and self._around.interfaces.exists(self.interface)

    async def start(self) -> None:
        """Makes the interface and returns when the access point sends; if it raises, nothing is left."""
        self._made = await self._is_ours()
        await self._run(make=self._made)

    async def restart(self, config: AccessPointConfig) -> None:
        """Lets hostapd run anew with another configuration, on the same interface with what hangs at it."""
        await self.stop()
        self.config = config
        await self._run(make=False)

    async def reload(self, config: AccessPointConfig) -> None:
        """Changes what does not concern the radio; if hostapd refuses, all is as before."""
        before, self.config = self.config, config
        try:
            await self.write()
            # The command RELOAD does not read the file, and keeps keys that were made with the old name.
            self.process.reload()
            await self._reloaded()
        except DomainError:
            self.config = before
            await self.write()
            self.process.reload()
            raise
        await self.send_rules()

    async def named(self) -> str | None:
        """Returns the name on the air."""
        return (await self._ask("GET_CONFIG")).get("ssid")

    async def stop(self) -> None:
        """Ends hostapd; the interface stays."""
        await self.process.stop()
        await self._unfollow()

    async def write(self) -> None:
        """Writes down what the next hostapd reads."""
        content = hostapd_config.render(self.config, self._around.control_dir, self._around.driver)
        mark = MADE if self._made else b""
        await asyncio.to_thread(write_atomically, self._around.file(self.interface), mark + content)

    async def send_rules(self) -> None:
        """Tells hostapd who may join."""
        for command in self._around.rules_of(self.interface):
            await hostapd_control.order(self._around.control_dir, self.interface, command)

    async def _run(self, *, make: bool) -> None:
        program = await asyncio.to_thread(shutil.which, "hostapd", path=program_path())
        if program is None:
            raise hostapd_unavailable(self.interface, "hostapd is not installed; install the package hostapd")
        await self.write()
        argv = [program, str(self._around.file(self.interface))]
        self.process = Supervised(f"hostapd {self.interface}", argv, self._restarted)
        try:
            if make:
                await self._make_interface()
            await self.process.start()
            await self._sending()
        except BaseException:
            await self.stop()
            await self._around.forget(self.interface)
            raise
        self._follower = asyncio.create_task(self._follow())

    async def _is_ours(self) -> bool:
        """Tells whether the interface has to be made, or was made by us before a crash."""
        if not self._around.interfaces.real:
            return False
        if await self._around.interfaces.find(self.interface) is None:
            return True
        return await asyncio.to_thread(_is_made, self._around.file(self.interface))

    async def _make_interface(self) -> None:
        phy = await self._around.interfaces.create(self.config)
        self.config = replace(self.config, radio=replace(self.config.radio, phy=phy))

    async def _sending(self) -> None:
        """Waits until the access point sends, or raises with hostapd's own words."""
        ended = asyncio.create_task(self.process.ended())
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not ended.done():
                    with contextlib.suppress(DomainError):
                        if (await self._ask("STATUS")).get("state") == "ENABLED":
                            await self.send_rules()
                            return
                    await asyncio.sleep(POLL_S)
                await asyncio.sleep(POLL_S)  # Its last words are on their way.
        except TimeoutError:
            pass
        finally:
            ended.cancel()
        said = self.process.last_words[-300:].replace("\n", "; ") or "it said nothing"
        raise FailedPrecondition(
            f"hostapd cannot run on {self.interface}: {said}",
            reason="HOSTAPD_FAILED",
            interface=self.interface,
            said=said,
        )

    async def _reloaded(self) -> None:
        """Waits until hostapd tells the name that it was given."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RELOAD_TIMEOUT_S):
                while True:
                    if await self.named() == self.config.bss.ssid:
                        return
                    await asyncio.sleep(POLL_S)
        raise FailedPrecondition(
            f"hostapd did not take over the configuration of {self.interface}.",
            reason="HOSTAPD_REFUSED",
            command="RELOAD",
            interface=self.interface,
        )

    async def _ask(self, command: str) -> dict[str, str]:
        return hostapd_text.parse(
            await hostapd_control.ask(self._around.control_dir, self.interface, command)
        )

    async def _restarted(self) -> None:
        """Completes what the supervisor began after hostapd had ended by itself."""
        remade = self._made and await self._around.interfaces.find(self.interface) is None
        if remade:  # Its radio was taken out and has come back.
            await self._make_interface()
        await self._sending()
        if remade:
            self._around.sink(self.interface, "REMADE")
        # A datagram socket does not tell that its peer has gone: listen to the new one at once.
        await self._unfollow()
        self._follower = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        """Passes events on for as long as the access point is wanted."""
        while True:
            with contextlib.suppress(DomainError):
                async with hostapd_control.attached(self._around.control_dir, self.interface) as events:
                    self._around.sink(self.interface, "ATTACHED")
                    async for event in events:
                        self._around.sink(self.interface, event)
            await asyncio.sleep(ATTACH_RETRY_S)

    async def _unfollow(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)
            self._follower = None


def _is_made(file: Path) -> bool:
    return file.exists() and file.read_bytes().startswith(MADE)
