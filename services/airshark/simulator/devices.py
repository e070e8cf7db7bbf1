"""The devices a scenario can hold, drawn anew for each seed: clocks, hop sequences, models, loads."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from services.airshark.simulator.emissions import Bursts, Carrier, Floats, Oven, Transmitter
from services.airshark.simulator.waveforms import Modulation

Maker: TypeAlias = "Callable[[float, np.random.Generator], list[Transmitter]]"

SLOT_S = 625e-6


def _clock(rng: np.random.Generator, ppm: float) -> float:
    return 1 + rng.uniform(-ppm, ppm) * 1e-6


def _fading(count: int, rng: np.random.Generator) -> Floats:
    """Returns the gain of each burst in dB for a hand-held in a room: a strong path and some weak ones."""
    scattered = rng.normal(0, 0.15, (2, count))
    gain: Floats = 10 * np.log10((1 + scattered[0]) ** 2 + scattered[1] ** 2)
    return gain


def _bursts(
    start_s: Floats, length_s: Floats, frequency: Floats, modulation: Modulation, rng: np.random.Generator
) -> Bursts:
    order = np.argsort(start_s, kind="stable")
    start_s, length_s, frequency = start_s[order], length_s[order], frequency[order]
    return Bursts(start_s, start_s + length_s, frequency, _fading(len(start_s), rng), modulation)


def bluetooth(seconds: float, rng: np.random.Generator) -> list[Transmitter]:
    """One piconet with voice, or data in packets of one, three or five slots, at some load."""
    channels = np.arange(79)
    if rng.uniform() < 0.25:
        # Adaptive hopping avoids one Wi-Fi channel.
        avoided = rng.choice([10, 35, 60])
        channels = channels[(channels < avoided - 10) | (channels > avoided + 11)]
    kind = rng.choice(["voice", "one", "three", "five", "mixed"])
    slots = int(seconds / SLOT_S) + 8
    starts: list[int] = []
    lengths: list[float] = []
    slot, load = 0, rng.uniform(0.3, 1.0)
    while slot < slots:
        if kind == "voice":
            starts += [slot, slot + 1]
            lengths += [366e-6, 366e-6]
            slot += 6
            continue
        size = {"one": 1, "three": 3, "five": 5}.get(str(kind)) or int(rng.choice([1, 1, 3, 5]))
        if rng.uniform() < load:
            starts.append(slot)
            lengths.append({1: 366e-6, 3: 1622e-6, 5: 2870e-6}[size] * rng.uniform(0.9, 1.0))
            starts.append(slot + size)
            lengths.append(rng.choice([126e-6, 366e-6]))
        slot += size + 1
    start = (np.array(starts) * SLOT_S) * _clock(rng, 20) + rng.uniform(0, SLOT_S)
    frequency = 2402.0 + rng.choice(channels, len(start)) + rng.normal(0, 0.02)
    return [_bursts(start, np.array(lengths), frequency, Modulation.GFSK_BASIC, rng)]


def ble(seconds: float, rng: np.random.Generator) -> list[Transmitter]:
    """An advertiser, or a connection; each alone, or both."""
    transmitters: list[Transmitter] = []
    kind = rng.choice(["advertising", "connection", "both"])
    if kind != "connection":
        interval = rng.choice([0.02, 0.03, 0.05, 0.1])
        begins = np.cumsum(interval + rng.uniform(0, 0.01, int(seconds / interval) + 1))
        on_air = rng.uniform(150e-6, 376e-6)
        between = on_air + rng.uniform(150e-6, 300e-6)
        start = (begins[:, None] + np.arange(3) * between).reshape(-1)
        frequency = np.tile([2402.0, 2426.0, 2480.0], len(begins))
        transmitters.append(_bursts(start, np.full(len(start), on_air), frequency, Modulation.GFSK_LE, rng))
    if kind != "advertising":
        interval = 1.25e-3 * rng.choice([6, 8, 12, 24])
        events = int(seconds / interval) + 1
        hop = rng.integers(5, 17)
        channel = (rng.integers(0, 37) + hop * np.arange(events)) % 37
        frequency = np.where(channel < 11, 2404 + 2 * channel, 2406 + 2 * channel).astype(float)
        begins = np.arange(events) * interval * _clock(rng, 50) + rng.uniform(0, interval)
        packets = int(rng.choice([1, 2, 3]))
        length = rng.uniform(80e-6, 380e-6, (events, 2 * packets))
        offset = np.cumsum(np.pad(length + 150e-6, ((0, 0), (1, 0))), axis=1)[:, :-1]
        transmitters.append(
            _bursts(
                (begins[:, None] + offset).reshape(-1),
                length.reshape(-1),
                np.repeat(frequency, 2 * packets),
                Modulation.GFSK_LE,
                rng,
            )
        )
    return transmitters


def zigbee(seconds: float, rng: np.random.Generator) -> list[Transmitter]:
    """A network on one channel: data frames after random back-off, each with its acknowledgement."""
    frequency = 2405.0 + 5 * rng.integers(0, 16) + rng.normal(0, 0.03)
    pause_s = rng.uniform(0.002, 0.03)
    begin, starts, lengths = 0.0, [], []
    typical = rng.uniform(0.8e-3, 4.2e-3)
    while begin < seconds:
        begin += rng.exponential(pause_s) + 320e-6 * rng.integers(1, 8) + 128e-6
        length = float(np.clip(rng.normal(typical, 0.3e-3), 352e-6, 4256e-6))
        starts += [begin, begin + length + 192e-6]
        lengths += [length, 352e-6]
        begin += length + 544e-6
    start = np.array(starts)
    return [_bursts(start, np.array(lengths), np.full(len(start), frequency), Modulation.OQPSK, rng)]


def fhss_phone(seconds: float, rng: np.random.Generator) -> list[Transmitter]:
    """A call: one slot down and one up in each frame of 10 ms, on a frequency of the frame's own."""
    frames = int(seconds / 0.01) + 2
    begins = np.arange(frames) * 0.01 * _clock(rng, 50) + rng.uniform(0, 0.01)
    grid = 2401.056 + 0.864 * np.arange(91)
    hops = grid[rng.integers(0, len(grid), frames)]
    slots = (0.0, 0.005) if rng.uniform() < 0.85 else (0.0,)
    start = (begins[:, None] + np.array(slots)).reshape(-1)
    length = np.full(len(start), rng.uniform(650e-6, 750e-6))
    return [_bursts(start, length, np.repeat(hops, len(slots)), Modulation.GFSK_PHONE, rng)]


def xbox(seconds: float, rng: np.random.Generator) -> list[Transmitter]:
    """A console and its pad; figures that are not public are drawn widely."""
    raster = rng.uniform(0.002, 0.010)
    frames = int(seconds / raster) + 2
    begins = np.arange(frames) * raster * _clock(rng, 30) + rng.uniform(0, raster)
    channels = 2402.0 + rng.permutation(79)[: rng.integers(30, 80)]
    down, up = rng.uniform(0.2e-3, 0.6e-3, 2)
    hops = rng.choice(channels, frames)
    reply = down + rng.uniform(0.1e-3, 0.4e-3)
    if rng.uniform() < 0.5:
        start = (begins[:, None] + np.array([0.0, reply])).reshape(-1)
        length = np.tile([down, up], frames)
        frequency = np.repeat(hops, 2)
    else:
        start, length, frequency = begins, np.where(np.arange(frames) % 2, up, down), hops
    return [_bursts(start, length, frequency, Modulation.GFSK_BASIC, rng)]


def analog_phone(seconds: float, rng: np.random.Generator) -> list[Transmitter]:
    """Base and handset, each on a frequency of its own."""
    base = rng.uniform(2403, 2478)
    handset = float(np.clip(base + rng.choice([-1, 1]) * rng.uniform(2, 25), 2402, 2480))
    wander = rng.uniform(0.01, 0.03)
    carriers: list[Transmitter] = [Carrier(base, Modulation.TONE, wander, rng.uniform(0.005, 0.03))]
    if rng.uniform() < 0.8:
        carriers.append(
            Carrier(handset, Modulation.TONE, wander, rng.uniform(0.005, 0.03), rng.uniform(-8, 0))
        )
    return carriers


def analog_audio(seconds: float, rng: np.random.Generator) -> list[Transmitter]:
    """Music with its stereo multiplex on one FM carrier."""
    return [Carrier(rng.uniform(2405, 2475), Modulation.TONE, rng.uniform(0.06, 0.16), 0.01)]


def analog_video(seconds: float, rng: np.random.Generator) -> list[Transmitter]:
    """A camera or video sender on one of the four usual channels."""
    frequency = rng.choice([2414.0, 2432.0, 2450.0, 2468.0]) + rng.normal(0, 0.3)
    # From a still and dim picture to a lively one.
    return [Carrier(frequency, Modulation.VIDEO, rng.uniform(0.2, 0.7))]


def microwave(seconds: float, rng: np.random.Generator) -> list[Transmitter]:
    """An oven with a transformer."""
    mains = rng.choice([50.0, 60.0]) * rng.uniform(0.997, 1.003)
    return [
        Oven(mains, rng.uniform(), rng.normal(2458, 5), rng.uniform(2, 10), rng.uniform(0.32, 0.52), False)
    ]


def inverter_microwave(seconds: float, rng: np.random.Generator) -> list[Transmitter]:
    """An oven with an inverter: nearly always on, with a ripple of twice the mains."""
    mains = rng.choice([50.0, 60.0]) * rng.uniform(0.997, 1.003)
    return [Oven(mains, rng.uniform(), rng.normal(2458, 5), rng.uniform(2, 10), rng.uniform(0.8, 0.97), True)]


def cw(seconds: float, rng: np.random.Generator) -> list[Transmitter]:
    """A carrier without anything on it."""
    return [Carrier(rng.uniform(2404, 2476), Modulation.TONE)]


MAKERS: dict[str, Maker] = {
    "analog_audio": analog_audio,
    "analog_phone": analog_phone,
    "analog_video": analog_video,
    "ble": ble,
    "bluetooth": bluetooth,
    "cw": cw,
    "fhss_phone": fhss_phone,
    "inverter_microwave": inverter_microwave,
    "microwave": microwave,
    "xbox": xbox,
    "zigbee": zigbee,
}
"""What makes a device live for so many seconds, by the name that scenarios use."""
