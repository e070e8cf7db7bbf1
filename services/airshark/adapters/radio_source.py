"""Samples the spectrum with a radio."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from services.airshark.adapters.debugfs import DEBUGFS, SYSFS, Radio, RadioMissing, Relay
from services.airshark.domain.sources import Chunk, SourceKind, SourceLost

log = structlog.get_logger()

DRAIN_INTERVAL_S = 0.1
"""The relay buffer overflows after 0.38 s at the highest rate."""
SILENCE_S = 1.0
"""After so long without samples the radio is armed anew: drivers forget their mode at restarts and
retunes."""
DEFAULT_PERIOD = 18
MAX_COUNT = 255
DEFAULT_DWELL_MS = 100
RETUNE_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class RadioSettings:
    """How a radio samples."""

    hop_mhz: tuple[int, ...] = ()
    dwell_ms: int = DEFAULT_DWELL_MS
    period: int = DEFAULT_PERIOD
    bins: int = 0
    hop_serving_radio: bool = False


class RadioSource:
    """One radio in spectral mode."""

    kind = SourceKind.HARDWARE

    def __init__(
        self,
        phy: str,
        settings: RadioSettings,
        *,
        debugfs: Path = DEBUGFS,
        sysfs: Path = SYSFS,
        iw: str = "iw",
    ) -> None:
        self.radio = phy
        self._settings = settings
        self._debugfs = debugfs
        self._sysfs = sysfs
        self._iw = iw
        self.rearmed = 0
        """How often it was silent and told to sample again."""

    @property
    def description(self) -> str:
        """Which radio, and how it samples."""
        hops = ", ".join(map(str, self._settings.hop_mhz))
        return f"radio {self.radio}" + (f", hopping over {hops} MHz" if hops else ", on its present channel")

    async def present(self) -> bool:
        """Tells whether the radio is there and can sample."""
        try:
            await asyncio.to_thread(self._find)
        except RadioMissing:
            return False
        return True

    def _find(self) -> Radio:
        return Radio.find(self.radio, self._debugfs, self._sysfs)

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Yields what the driver gives; the radio is left with sampling disabled."""
        try:
            radio = await asyncio.to_thread(self._find)
            interface = await asyncio.to_thread(self._interface_to_hop, radio)
            relay = await self._begun(radio)
        except RadioMissing as error:
            raise SourceLost(str(error)) from None
        except OSError as error:
            raise self._lost(error) from None
        try:
            async for chunk in self._sample(radio, relay, interface):
                yield chunk
        except OSError as error:
            raise self._lost(error) from None
        finally:
            # Also when this task is being cancelled: no radio may be left sampling.
            await asyncio.shield(asyncio.to_thread(_end, radio, relay))

    async def _sample(self, radio: Radio, relay: Relay, interface: str) -> AsyncIterator[Chunk]:
        hops = self._settings.hop_mhz
        hop = 0
        next_hop_s = heard_s = time.monotonic()
        while True:
            now_s = time.monotonic()
            if hops and now_s >= next_hop_s:
                await self._tune(interface, hops[hop % len(hops)])
                await asyncio.to_thread(radio.arm)
                hop += 1
                next_hop_s = time.monotonic() + self._settings.dwell_ms / 1000
            data = await asyncio.to_thread(relay.drain)
            now_s = time.monotonic()
            if data:
                heard_s = now_s
                yield Chunk(data, time.time(), was_full=len(data) >= radio.driver.full_bytes)
            elif now_s - heard_s >= SILENCE_S:
                heard_s = now_s
                self.rearmed += 1
                log.info("the radio was silent and is told to sample again", radio=self.radio)
                await asyncio.to_thread(radio.arm)
            pause_s = DRAIN_INTERVAL_S
            if hops:
                pause_s = min(pause_s, max(next_hop_s - time.monotonic(), 0.0))
            await asyncio.sleep(pause_s)

    def _interface_to_hop(self, radio: Radio) -> str:
        if not self._settings.hop_mhz:
            return ""
        interfaces = radio.interfaces()
        serving = [name for name, serves in interfaces.items() if serves]
        if serving and not self._settings.hop_serving_radio:
            raise SourceLost(
                f"The radio {self.radio} carries a network on {serving[0]}, which would suffer; leave "
                f"hop_mhz "
                "empty, take another radio, or set hop_serving_radio."
            )
        if not interfaces:
            raise SourceLost(
                f"The radio {self.radio} has no interface to tune; add one: iw phy {self.radio} interface "
                f"add "
                f"mon-{self.radio} type monitor"
            )
        return next(
            (name for name, serves in interfaces.items() if not serves), serving[0] if serving else ""
        )

    async def _begun(self, radio: Radio) -> Relay:
        beginning = asyncio.ensure_future(asyncio.to_thread(self._begin, radio))
        try:
            return await asyncio.shield(beginning)
        except asyncio.CancelledError:
            # The thread goes on all the same; what it has begun is ended.
            relay = await beginning
            await asyncio.to_thread(_end, radio, relay)
            raise

    def _begin(self, radio: Radio) -> Relay:
        if radio.driver.has_period:
            radio.write("spectral_period", str(self._settings.period))
            radio.write("spectral_short_repeat", "1")
            radio.write("spectral_count", str(MAX_COUNT))
        if radio.driver.has_bins and self._settings.bins:
            if self._settings.bins not in radio.driver.bin_counts:
                raise RadioMissing(f"{radio.driver.name} samples with {radio.driver.bin_counts} bins.")
            radio.write("spectral_bins", str(self._settings.bins))
        relay = radio.open()
        try:
            relay.drain()  # What lies there was sampled for somebody else, on another channel.
            radio.arm()
        except BaseException:
            _end(radio, relay)
            raise
        return relay

    async def _tune(self, interface: str, centre_mhz: int) -> None:
        command = (self._iw, "dev", interface, "set", "freq", str(centre_mhz))
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(RETUNE_TIMEOUT_S):
                _, complaint = await process.communicate()
        except TimeoutError:
            raise SourceLost(f"iw did not tune {interface} to {centre_mhz} MHz in time.") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            reason = complaint.decode(errors="replace").strip()[:200]
            raise SourceLost(f"{interface} cannot be tuned to {centre_mhz} MHz: {reason}")

    def _lost(self, error: OSError) -> SourceLost:
        return SourceLost(
            f"The radio {self.radio} cannot be read: {error.strerror}. Its interface must be up, and the "
            f"node "
            "needs the right to use debugfs."
        )


def _end(radio: Radio, relay: Relay) -> None:
    radio.disable()
    relay.close()
