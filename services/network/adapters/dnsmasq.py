"""Runs one dnsmasq for each network."""

import asyncio
import contextlib
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from services.common.children import program_path
from services.common.errors import DomainError, FailedPrecondition, InvalidArgument
from services.common.files import write_atomically
from services.network.adapters.supervised import Supervised
from services.network.domain.access_points import Health
from services.network.domain.dhcp import DhcpConfig
from services.network.domain.errors import dnsmasq_unavailable

log = structlog.get_logger()

PREFIX, SUFFIX = "dnsmasq-", ".conf"
CACHE_NAMES, MAX_LEASES = 150, 1000
START_TIMEOUT_S, TEST_TIMEOUT_S = 10.0, 10.0
STARTED = ": started, version "
"""It says so once its sockets are open and it has given up the rights that it does not need."""
_INTERFACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
_LEASE_TIME = re.compile(r"[0-9]{1,8}[smhd]|infinite")
_DOMAIN = re.compile(r"[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63}){0,8}")
_PATH = re.compile(r"/[\x21-\x7e]*")


def render(config: DhcpConfig) -> bytes:
    """Returns the configuration file, or raises InvalidArgument (DHCP_INVALID) naming the field."""
    return ("\n".join(_lines(config)) + "\n").encode("ascii")


def _lines(config: DhcpConfig) -> Iterator[str]:
    interface = _checked(_INTERFACE, config.interface, "interface")
    domain = _checked(_DOMAIN, config.domain, "domain")
    yield f"interface={interface}"
    yield "except-interface=lo"
    # Not bind-dynamic: that insists on CAP_NET_BIND_SERVICE, for sockets that it may open later.
    yield "bind-interfaces"
    yield "no-hosts"
    yield f"dhcp-leasefile={_checked(_PATH, str(config.lease_file), 'lease_file')}"
    yield f"dhcp-lease-max={MAX_LEASES}"
    yield f"cache-size={CACHE_NAMES}"
    yield f"domain={domain}"
    yield "expand-hosts"
    yield "domain-needed"
    yield "bogus-priv"
    if config.dns:
        yield "no-resolv"
        yield from (f"server={server}" for server in config.dns)
    for name, address in sorted(config.names.items()):
        yield f"address=/{_checked(_DOMAIN, name, 'names')}/{address}"
    if config.relay is not None:
        if config.address is None:
            raise _invalid("relay", "A relay needs the address of the interface.")
        # Without an interface: that would be the one on which the answers have to come in.
        yield f"dhcp-relay={config.address},{config.relay}"
        return
    if config.range_start not in config.network or config.range_end not in config.network:
        raise _invalid("range", "The addresses that are given out have to be of the network.")
    if config.range_end < config.range_start:
        raise _invalid("range", "The range of addresses has to end after it begins.")
    yield "dhcp-authoritative"
    time = _checked(_LEASE_TIME, config.lease_time, "lease_time")
    yield f"dhcp-range={config.range_start},{config.range_end},{config.network.netmask},{time}"
    if config.router is not None:
        yield f"dhcp-option=option:router,{config.router}"


def _checked(form: re.Pattern[str], value: str, field: str) -> str:
    if not form.fullmatch(value) or "," in value:
        raise _invalid(field, f"{field} is not of the form that dnsmasq's configuration allows.")
    return value


def _invalid(field: str, message: str) -> InvalidArgument:
    return InvalidArgument(message, reason="DHCP_INVALID", field=field)


ServerSink = Callable[[str, Path | None], None]
"""Takes an interface and the lease file of its server, or None when that is removed."""


@dataclass
class _Server:
    config: DhcpConfig
    index: int | None
    """The kernel's number of the interface whose sockets it has."""
    process: Supervised


class DnsmasqServers:
    """The DHCP and DNS servers of this node."""

    def __init__(self, folder: Path, changed: ServerSink) -> None:
        self._folder = folder
        self._changed = changed
        self._running: dict[str, _Server] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, folder: Path, changed: ServerSink = lambda _interface, _file: None
    ) -> AsyncIterator["DnsmasqServers"]:
        """Keeps servers for the time of the context and stops them at its end; leases stay."""
        await asyncio.to_thread(folder.mkdir, 0o700, True, True)
        servers = cls(folder, changed)
        try:
            yield servers
        finally:
            for server in servers._running.values():
                await server.process.stop()

    async def ensure(self, config: DhcpConfig) -> None:
        """Lets a server run as the configuration says; see the port."""
        content = render(config)
        async with self._turns.setdefault(config.interface, asyncio.Lock()):
            present = self._running.get(config.interface)
            if (
                present is not None
                and (present.config, present.index) == (config, _index(config.interface))
                and present.process.running
            ):
                return
            program = await asyncio.to_thread(shutil.which, "dnsmasq", path=program_path())
            if program is None:
                raise dnsmasq_unavailable(
                    config.interface, "dnsmasq is not installed; install the package dnsmasq-base"
                )
            file = self._file(config.interface)
            tried = file.with_suffix(".new")
            await asyncio.to_thread(write_atomically, tried, content)
            try:
                await asyncio.to_thread(_test, program, tried, config.interface)
                if present is not None:
                    await self._stop(config.interface)
                await asyncio.to_thread(config.lease_file.parent.mkdir, 0o755, True, True)
                fresh = not await asyncio.to_thread(config.lease_file.exists)
                await asyncio.to_thread(tried.replace, file)
            finally:
                await asyncio.to_thread(tried.unlink, True)
            try:
                await self._start(program, config, file)
            except DomainError:
                if fresh:
                    await asyncio.to_thread(config.lease_file.unlink, True)
                raise
            self._changed(config.interface, config.lease_file)

    async def remove(self, interface: str) -> None:
        """Stops the server of an interface and removes its lease file."""
        async with self._turns.setdefault(interface, asyncio.Lock()):
            present = self._running.get(interface)
            await self._stop(interface)
            if present is not None:
                await asyncio.to_thread(present.config.lease_file.unlink, True)
            await asyncio.to_thread(self._file(interface).unlink, True)
            self._changed(interface, None)

    async def keep_only(self, interfaces: Collection[str]) -> None:
        """Stops all servers of ours on other interfaces."""
        files = await asyncio.to_thread(lambda: list(self._folder.glob(f"{PREFIX}*{SUFFIX}")))
        marked = {path.name[len(PREFIX) : -len(SUFFIX)] for path in files}
        for interface in sorted((marked | set(self._running)) - set(interfaces)):
            await self.remove(interface)

    def health(self, interface: str) -> Health:
        """Tells whether the server runs now."""
        present = self._running.get(interface)
        if present is not None and present.process.running:
            return Health(True)
        why = present.process.exit_reason if present is not None else "it was not started"
        return Health(
            False, "DNSMASQ_UNAVAILABLE", f"dnsmasq does not run on {interface}: {why or 'it ended'}."
        )

    def _file(self, interface: str) -> Path:
        return self._folder / f"{PREFIX}{interface}{SUFFIX}"

    async def _start(self, program: str, config: DhcpConfig, file: Path) -> None:
        argv = [
            *(program, "--keep-in-foreground", f"--conf-file={file}", "--pid-file="),
            # With a group, even its own, it would need the right to change groups.
            *("--user=root", "--group=", "--log-facility=-"),
        ]
        process = Supervised(f"dnsmasq {config.interface}", argv)
        self._running[config.interface] = _Server(config, _index(config.interface), process)
        await process.start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT_S):
                if await process.says(STARTED):
                    return
        said = process.last_words[-300:].replace("\n", "; ") or "it said nothing"
        await self._stop(config.interface)
        await asyncio.to_thread(file.unlink, True)
        raise FailedPrecondition(
            f"dnsmasq cannot run on {config.interface}: {said}",
            reason="DNSMASQ_FAILED",
            interface=config.interface,
            said=said,
        )

    async def _stop(self, interface: str) -> None:
        present = self._running.pop(interface, None)
        if present is not None:
            with contextlib.suppress(DomainError):
                await present.process.stop()


def _index(interface: str) -> int | None:
    """Returns the kernel's number of an interface, another one when it is made anew, or None."""
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        return None


def _test(program: str, file: Path, interface: str) -> None:
    """Lets dnsmasq itself judge a configuration."""
    judged = subprocess.run(
        [program, "--test", f"--conf-file={file}"],
        capture_output=True,
        text=True,
        timeout=TEST_TIMEOUT_S,
        check=False,
    )
    if judged.returncode:
        said = judged.stderr.strip()[-300:]
        raise FailedPrecondition(
            f"dnsmasq refuses its configuration for {interface}: {said}",
            reason="DNSMASQ_FAILED",
            interface=interface,
            said=said,
        )
