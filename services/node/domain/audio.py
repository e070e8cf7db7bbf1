"""What the sound server of the node can be asked."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from services.common.errors import InvalidArgument, NotFound

DeviceKind = Literal["sink", "source"]
MODULE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")
DEVICE_NAME = re.compile(r"[A-Za-z0-9_.:@+~-]{1,200}")
MAX_VOLUME = 1.5
"""The loudest that PulseAudio's own tools offer; full is 1."""


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What the sound server tells about itself."""

    default_sink_name: str
    default_source_name: str
    host_name: str
    server_name: str
    server_version: str
    user_name: str


@dataclass(frozen=True, slots=True)
class Module:
    """A loaded module."""

    index: int
    name: str
    n_used: int


@dataclass(frozen=True, slots=True)
class Device:
    """A sink or a source; `volume` has one value for each channel, 1 is full."""

    index: int
    name: str
    description: str
    channels: Sequence[str]
    volume: Sequence[float]


class SoundServer(Protocol):
    """The sound server. Every call raises Unavailable (AUDIO_UNAVAILABLE) when there is none."""

    async def info(self) -> ServerInfo:
        """Returns what it tells about itself."""

    async def set_default(self, kind: DeviceKind, name: str) -> None:
        """Sets the default sink or source."""

    async def modules(self) -> Sequence[Module]:
        """Returns the loaded modules by index."""

    async def load_module(self, name: str) -> int:
        """Loads a module and returns its index; FailedPrecondition (AUDIO_MODULE_REFUSED) if it cannot."""

    async def devices(self, kind: DeviceKind) -> Sequence[Device]:
        """Returns the sinks or sources by index."""

    async def set_volume(self, kind: DeviceKind, name: str, volume: Sequence[float]) -> None:
        """Sets the volume of each channel."""


class Audio:
    """Checks what is asked of the sound server before it is."""

    def __init__(self, server: SoundServer) -> None:
        self._server = server

    async def set_defaults(self, sink: str | None, source: str | None) -> None:
        """Sets the default sink, the default source, or both; nothing if one of them is unknown."""
        wanted: list[tuple[DeviceKind, str]] = []
        if sink is not None:
            wanted.append(("sink", sink))
        if source is not None:
            wanted.append(("source", source))
        for kind, name in wanted:
            await self._find(kind, name)
        for kind, name in wanted:
            await self._server.set_default(kind, name)

    async def load_module(self, name: str) -> int:
        """Loads a module and returns its index."""
        if not MODULE_NAME.fullmatch(name):
            raise InvalidArgument(
                "name must be that of a module, such as module-loopback.",
                reason="AUDIO_MODULE_INVALID",
                field="name",
            )
        return await self._server.load_module(name)

    async def set_volume(self, kind: DeviceKind, name: str, volume: Sequence[float]) -> None:
        """Sets the volume of each channel of a sink or source; one value is for all of them."""
        device = await self._find(kind, name)
        if len(volume) not in (1, len(device.channels)):
            raise InvalidArgument(
                f"{name} has {len(device.channels)} channels; volume needs as many values or one for all, "
                f"not {len(volume)}.",
                reason="VOLUME_INVALID",
                field="volume",
            )
        if not all(0 <= value <= MAX_VOLUME for value in volume):
            raise InvalidArgument(
                f"A volume is from 0 (silent) over 1 (full) to {MAX_VOLUME}.",
                reason="VOLUME_INVALID",
                field="volume",
            )
        every = volume if len(volume) > 1 else [*volume] * len(device.channels)
        await self._server.set_volume(kind, name, every)

    async def _find(self, kind: DeviceKind, name: str) -> Device:
        if DEVICE_NAME.fullmatch(name) and not name.startswith("-"):
            for device in await self._server.devices(kind):
                if device.name == name:
                    return device
        raise NotFound(
            f"The sound server has no {kind} {name!r}; list them with GET /api/v1/audio/{kind}s.",
            reason="AUDIO_DEVICE_NOT_FOUND",
            name=name,
        )
