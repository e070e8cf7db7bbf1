"""Radios through debugfs: real files and a FIFO stand for the kernel's, which the build machines do not
have."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.airshark.adapters import radio_source
from services.airshark.adapters.debugfs import Radio, RadioMissing
from services.airshark.adapters.radio_source import RadioSettings, RadioSource
from services.airshark.domain.pipeline import Pipeline
from services.airshark.domain.reader import Batch, Item, SourceState, State
from services.airshark.domain.sources import Chunk, SourceKind, SourceLost
from tests.fakes.debugfs import ETHERNET, MONITOR, FakeRadio
from tests.support.captures import ht20


@pytest.fixture
def radio(tmp_path: Path) -> Iterator[FakeRadio]:
    radio = FakeRadio(tmp_path)
    yield radio
    radio.relay.close()


@pytest.fixture
def iw(tmp_path: Path) -> Path:
    """A program in the place of iw that writes down what it is asked, and refuses 2999 MHz."""
    path = tmp_path / "iw"
    path.write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/iw.log\n[ "$5" != 2999 ] || {{ echo no >&2; exit 1; }}\n'
    )
    path.chmod(0o755)
    return path


def source(radio: FakeRadio, settings: RadioSettings | None = None, iw: Path | str = "iw") -> RadioSource:
    return RadioSource(
        "phy0", settings or RadioSettings(), debugfs=radio.debugfs, sysfs=radio.sysfs, iw=str(iw)
    )


@asynccontextmanager
async def reading(source: RadioSource) -> AsyncIterator[Callable[[], Any]]:
    async with aclosing(source.chunks()) as chunks:  # type: ignore[type-var]
        yield lambda: asyncio.wait_for(anext(chunks), 5)


async def begun(radio: FakeRadio) -> None:
    """Waits until it samples: what lies there before is passed over."""
    async with asyncio.timeout(5):
        while radio.read("spectral_scan_ctl") != "trigger":
            await asyncio.sleep(0.005)


async def test_it_samples_and_leaves_the_radio_disabled(radio: FakeRadio) -> None:
    radio.relay.write(ht20(), 3)  # Sampled before, for somebody else.
    async with reading(source(radio)) as following:
        chunk = asyncio.ensure_future(following())
        await begun(radio)
        radio.relay.write(ht20(tsf=7), 5)
        assert await chunk == Chunk(ht20(tsf=7) * 5, (await chunk).wall_time_s)
        assert radio.read("spectral_scan_ctl") == "trigger"
        assert radio.read("spectral_period") == "18"
        assert radio.read("spectral_count") == "255"
    assert radio.read("spectral_scan_ctl") == "disable"


async def test_a_full_buffer_is_told(radio: FakeRadio) -> None:
    async with reading(source(radio)) as following:
        first = asyncio.ensure_future(following())
        await begun(radio)
        radio.relay.write(ht20())
        assert not (await first).was_full
        radio.relay.write(ht20(), 5000)
        assert radio.relay.lost_records > 1000
        chunk = await following()
        assert chunk.was_full
        assert len(chunk.data) % 76 == 0


async def test_a_silent_radio_is_armed_again(radio: FakeRadio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(radio_source, "SILENCE_S", 0.2)
    watched = source(radio)
    async with reading(watched) as following:
        chunk = asyncio.ensure_future(following())
        async with asyncio.timeout(5):
            while not watched.rearmed:
                await asyncio.sleep(0.02)
        radio.relay.write(ht20())
        assert (await chunk).data == ht20()


async def test_hopping_retunes_and_arms(radio: FakeRadio, iw: Path, tmp_path: Path) -> None:
    radio.add_interface("mon0", MONITOR, "up")
    settings = RadioSettings(hop_mhz=(2412, 2432, 2452), dwell_ms=60)
    async with reading(source(radio, settings, iw)) as following:
        chunk = asyncio.ensure_future(following())
        await asyncio.sleep(0.7)
        radio.relay.write(ht20())
        await chunk
    asked = (await asyncio.to_thread((tmp_path / "iw.log").read_text)).splitlines()
    tuned = [int(line.split()[-1]) for line in asked]
    assert len(tuned) >= 4
    assert tuned == [(2412, 2432, 2452)[n % 3] for n in range(len(tuned))]
    assert asked[0] == "dev mon0 set freq 2412"
    assert radio.read("spectral_scan_ctl") == "disable"


async def test_a_radio_that_serves_is_never_hopped_unless_asked(radio: FakeRadio, iw: Path) -> None:
    radio.add_interface("wlan0", ETHERNET, "up")
    settings = RadioSettings(hop_mhz=(2412,))
    with pytest.raises(SourceLost, match="carries a network on wlan0"):
        async with reading(source(radio, settings, iw)) as following:
            await following()
    assert radio.read("spectral_scan_ctl") == ""
    asked = RadioSettings(hop_mhz=(2412,), hop_serving_radio=True)
    async with reading(source(radio, asked, iw)) as following:
        chunk = asyncio.ensure_future(following())
        await asyncio.sleep(0.3)
        radio.relay.write(ht20())
        await chunk


async def test_a_refused_frequency_is_a_lost_source(radio: FakeRadio, iw: Path) -> None:
    radio.add_interface("mon0", MONITOR, "up")
    with pytest.raises(SourceLost, match="cannot be tuned to 2999 MHz: no"):
        async with reading(source(radio, RadioSettings(hop_mhz=(2999,)), iw)) as following:
            await following()
    assert radio.read("spectral_scan_ctl") == "disable"


async def test_what_is_missing_is_named(radio: FakeRadio) -> None:
    absent = RadioSource("phy7", RadioSettings(), debugfs=radio.debugfs, sysfs=radio.sysfs)
    assert not await absent.present()
    with pytest.raises(SourceLost, match="no radio phy7"):
        async with reading(absent) as following:
            await following()
    await asyncio.to_thread(os.makedirs, radio.debugfs / "ieee80211" / "phy1" / "mt76")
    other = RadioSource("phy1", RadioSettings(), debugfs=radio.debugfs, sysfs=radio.sysfs)
    with pytest.raises(SourceLost, match="cannot sample"):
        async with reading(other) as following:
            await following()
    assert await source(radio).present()


async def test_a_radio_without_an_interface_cannot_hop(radio: FakeRadio) -> None:
    with pytest.raises(SourceLost, match="interface add"):
        async with reading(source(radio, RadioSettings(hop_mhz=(2412,)))) as following:
            await following()


@pytest.mark.parametrize("driver", ["ath10k", "ath11k", "ath9k_htc"])
def test_all_drivers_are_found(tmp_path: Path, driver: str) -> None:
    radio = FakeRadio(tmp_path, "phy3", driver)
    assert Radio.find("phy3", radio.debugfs, radio.sysfs).driver.name == driver
    radio.relay.close()
    with pytest.raises(RadioMissing):
        Radio.find("phy4", radio.debugfs, radio.sysfs)


async def test_ath10k_gets_its_bins(tmp_path: Path) -> None:
    radio = await asyncio.to_thread(FakeRadio, tmp_path, "phy0", "ath10k")
    async with reading(source(radio, RadioSettings(bins=128))) as following:
        chunk = asyncio.ensure_future(following())
        await begun(radio)
        radio.relay.write(b"x")
        await chunk
        assert radio.read("spectral_bins") == "128"
        assert radio.read("spectral_period") == ""
    radio.relay.close()


class Seen:
    """Keeps what comes."""

    def __init__(self) -> None:
        self.items: list[Item] = []

    def take(self, item: Item) -> None:
        self.items.append(item)


async def test_the_pipeline_follows_a_radio_that_goes_and_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.airshark.domain.reader.FIRST_RETRY_S", 0.05)
    monkeypatch.setattr(radio_source, "SILENCE_S", 0.1)
    radio = await asyncio.to_thread(FakeRadio, tmp_path / "a")
    pipeline, seen = Pipeline(), Seen()

    async def until(state: State) -> SourceState:
        async with asyncio.timeout(5):
            while pipeline.main.state.state is not state:
                if state is State.RUNNING:
                    radio.relay.write(ht20(), 10)
                await asyncio.sleep(0.02)
        return pipeline.main.state

    async with pipeline.running():
        await pipeline.choose(source(radio))
        with pipeline.consuming(seen):
            assert (await until(State.RUNNING)).kind is SourceKind.HARDWARE
            await asyncio.to_thread(radio.unplug)
            assert "phy0" in (await until(State.LOST)).problem
            radio.relay.close()
            again = await asyncio.to_thread(FakeRadio, tmp_path / "b")
            await asyncio.to_thread(radio.folder.parent.mkdir)
            await asyncio.to_thread(again.folder.rename, radio.folder)
            radio.relay = again.relay
            radio.relay._path = radio.folder / "spectral_scan0"
            await until(State.RUNNING)
            async with asyncio.timeout(5):
                while not pipeline.main.counts["samples"]:
                    radio.relay.write(ht20(), 10)
                    await asyncio.sleep(0.05)
        async with asyncio.timeout(5):
            while pipeline.main.state.state is not State.IDLE:
                await asyncio.sleep(0.02)
    assert radio.read("spectral_scan_ctl") == "disable"
    states = [item.state for item in seen.items if isinstance(item, SourceState)]
    assert states == [State.RUNNING, State.LOST, State.RUNNING]
    assert any(isinstance(item, Batch) for item in seen.items)
    radio.relay.close()


async def test_two_radios_are_read_side_by_side_and_one_may_go(tmp_path: Path) -> None:
    radios = [FakeRadio(tmp_path / phy, phy) for phy in ("phy0", "phy1")]
    pipeline, seen = Pipeline(), Seen()

    def samples(radio: str) -> list[int]:
        batches = [item for item in seen.items if isinstance(item, Batch) and item.radio == radio]
        assert [batch.sequence for batch in batches] == list(range(len(batches)))
        return [int(tsf) for batch in batches for block in batch.blocks for tsf in block.tsf_us]

    async def until(truth: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not truth():
                await asyncio.sleep(0.02)

    async with pipeline.running():
        await pipeline.choose(
            *(
                RadioSource(phy, RadioSettings(), debugfs=radio.debugfs, sysfs=radio.sysfs)
                for phy, radio in zip(("phy0", "phy1"), radios, strict=True)
            )
        )
        with pipeline.consuming(seen):
            await until(lambda: all(radio.read("spectral_scan_ctl") == "trigger" for radio in radios))
            await asyncio.to_thread(radios[0].relay.write, ht20(tsf=1), 5)
            await asyncio.to_thread(radios[1].relay.write, ht20(tsf=2), 7)
            await until(lambda: len(samples("phy0")) == 5 and len(samples("phy1")) == 7)
            assert (set(samples("phy0")), set(samples("phy1"))) == ({1}, {2})
            assert [reader.counts["samples"] for reader in pipeline.readers] == [5, 7]
            await asyncio.to_thread(radios[0].unplug)
            await until(lambda: pipeline.readers[0].state.state is State.LOST)
            await asyncio.to_thread(radios[1].relay.write, ht20(tsf=3), 4)
            await until(lambda: len(samples("phy1")) == 11)
            assert pipeline.readers[1].state.state is State.RUNNING
        await until(lambda: all(reader.state.state is State.IDLE for reader in pipeline.readers))
    assert radios[1].read("spectral_scan_ctl") == "disable"
    for radio in radios:
        radio.relay.close()
