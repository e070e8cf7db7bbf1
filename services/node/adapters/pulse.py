"""PulseAudio, through its command-line tool, which speaks its protocol and writes JSON."""

import asyncio
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from services.common.errors import FailedPrecondition, Unavailable
from services.node.domain.audio import Device, DeviceKind, Module, ServerInfo

PACTL = "pactl"
TIMEOUT_S = 5.0
FULL = 65536
"""PulseAudio's number for full volume."""
NOT_COUNTED = 2**32 - 1


class PulseAudio:
    """`services.node.domain.audio.SoundServer` for PulseAudio 15 and newer, and PipeWire in its place."""

    async def info(self) -> ServerInfo:
        """Returns what it tells about itself."""
        told = await self._ask("info")
        return ServerInfo(
            default_sink_name=told["default_sink_name"],
            default_source_name=told["default_source_name"],
            host_name=told["host_name"],
            server_name=told["server_name"],
            server_version=told["server_version"],
            user_name=told["user_name"],
        )

    async def set_default(self, kind: DeviceKind, name: str) -> None:
        """Sets the default sink or source."""
        await self._do(f"set-default-{kind}", name)

    async def modules(self) -> Sequence[Module]:
        """Returns the loaded modules by index."""
        return [
            Module(number, module["name"], _used(module.get("usage_counter")))
            for number, module in enumerate(await self._ask("list", "modules"))
        ]

    async def load_module(self, name: str) -> int:
        """Loads a module and returns its index."""
        status, output = await _run(PACTL, "load-module", name)
        if status == 0 and output.strip().isdigit():
            return int(output)
        await self._ask("info")  # Raises if there is no server at all.
        raise FailedPrecondition(
            f"The sound server cannot load {name}; see its log for the reason.",
            reason="AUDIO_MODULE_REFUSED",
            name=name,
        )

    async def devices(self, kind: DeviceKind) -> Sequence[Device]:
        """Returns the sinks or sources by index."""
        return [
            Device(
                index=device["index"],
                name=device["name"],
                description=device["description"],
                channels=list(device["volume"]),
                volume=[channel["value"] / FULL for channel in device["volume"].values()],
            )
            for device in sorted(await self._ask("list", f"{kind}s"), key=lambda device: int(device["index"]))
        ]

    async def set_volume(self, kind: DeviceKind, name: str, volume: Sequence[float]) -> None:
        """Sets the volume of each channel."""
        await self._do(f"set-{kind}-volume", name, *(str(round(value * FULL)) for value in volume))

    async def _ask(self, *words: str) -> Any:
        status, output = await _run(PACTL, "--format=json", *words)
        if status == 0:
            with suppress(ValueError):
                return json.loads(output)
        raise _unavailable()

    async def _do(self, *words: str) -> None:
        status, _ = await _run(PACTL, *words)
        if status != 0:
            raise _unavailable()


async def _run(*command: str) -> tuple[int, str]:
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            # Numbers with points, names in English; and no server of its own for root.
            env=os.environ | {"LC_ALL": "C"},
        )
    except OSError:
        raise _unavailable() from None
    try:
        async with asyncio.timeout(TIMEOUT_S):
            output, _ = await process.communicate()
    except TimeoutError:
        raise _unavailable() from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, output.decode(errors="replace")


def _used(counter: Any) -> int:
    return int(counter) if str(counter).isdigit() else NOT_COUNTED


def _unavailable() -> Unavailable:
    return Unavailable(
        "No sound server answers; install PulseAudio and its pactl, and start it as the user of the node.",
        reason="AUDIO_UNAVAILABLE",
    )
