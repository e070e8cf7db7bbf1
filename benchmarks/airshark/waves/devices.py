"""Devices of the third model: when each transmits, where, how strongly, and which waveform."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.airshark.waves.signals import Numbers, Wave, gfsk, half_sine, modulated, noise

Course = Callable[[Numbers], Numbers]


@dataclass
class Part:
    """One transmitter."""

    wave: Wave
    state: "Callable[[Numbers], tuple[Numbers, Numbers, Numbers]]"
    """Of times in seconds: whether it sends (0 or 1), its frequency in MHz, its gain in dB."""


@dataclass
class Machine:
    """One device."""

    parts: list[Part]
    places_mhz: tuple[float, ...] = ()
    """Where it stays, if it stays."""


def _bursts(rows: list[tuple[float, float, float, int]], wave: Wave, rng: np.random.Generator) -> list[Part]:
    """Returns a part for each transmitter; the last of a row says which one sends."""
    table = np.array(sorted(rows), float).reshape(-1, 4)
    count = int(table[:, 3].max(initial=0)) + 1
    farther_db = rng.choice([0.0, 3.0, 6.0, 10.0, 14.0], count)
    farther_db -= farther_db.min()
    return [
        _sender(table[table[:, 3] == number], wave, -float(farther), rng)
        for number, farther in enumerate(farther_db)
    ]


def _sender(table: Numbers, wave: Wave, gain_db: float, rng: np.random.Generator) -> Part:
    # A strong path and a weaker one whose phase the place of the hand and the frequency decide.
    weak = rng.uniform(0, 0.35)
    fading = 20 * np.log10(np.abs(1 + weak * np.exp(2j * np.pi * rng.uniform(size=len(table)))))

    def state(time_s: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        if not len(table):
            return np.zeros(len(time_s)), np.full(len(time_s), 2440.0), np.full(len(time_s), gain_db)
        at = np.maximum(np.searchsorted(table[:, 0], time_s, side="right") - 1, 0)
        on = (time_s >= table[at, 0]) & (time_s < table[at, 0] + table[at, 1])
        return on.astype(float), table[at, 2], gain_db + fading[at]

    return Part(wave, state)


def _constant(frequency_mhz: float, wave: Wave, gain_db: float = 0.0, drift_mhz: float = 0.0) -> Part:
    def state(time_s: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        one = np.ones(len(time_s))
        return one, frequency_mhz + drift_mhz * (time_s - 1), one * gain_db

    return Part(wave, state)


def bluetooth(length_s: float, rng: np.random.Generator) -> Machine:
    """A piconet: voice, packets of 1, 3 or 5 slots one way with short ones back, or one that looks for
    others."""
    slot = 625e-6 * (1 + rng.normal(0, 8e-6))
    now, rows = rng.uniform(0, slot), []
    hops = rng.permutation(79)[: int(rng.choice(np.array([79, 79, rng.integers(20, 78)])))]
    profile = str(rng.choice(["voice", "voice", "1", "3", "5", "any", "any", "search"]))
    apart = int(rng.choice([6, 6, 8, 12, 18]))
    said_s = float(rng.choice([366e-6, 366e-6, 240e-6]))
    pause = rng.uniform(0, 3)
    reply_s = float(rng.choice([126e-6, 126e-6, 366e-6]))
    while now < length_s:
        if profile == "voice":
            asked = rng.choice(hops)
            heard = asked if len(hops) < 79 else rng.choice(hops)
            rows += [(now, said_s, 2402.0 + asked, 0), (now + slot, said_s, 2402.0 + heard, 1)]
            now += apart * slot
            continue
        if profile == "search":
            rows += [(now + n * slot / 2, 68e-6, 2402.0 + rng.choice(hops[:32]), 0) for n in (0, 1)]
            now += 2 * slot
            continue
        size = int(rng.choice([1, 3, 5])) if profile == "any" else int(profile)
        longest = {1: 366e-6, 3: 1622e-6, 5: 2870e-6}[size]
        rows.append(
            (now, longest * (1 if rng.uniform() < 0.8 else rng.uniform(0.6, 1)), 2402.0 + rng.choice(hops), 0)
        )
        rows.append((now + size * slot, reply_s, 2402.0 + rng.choice(hops), 1))
        now += (size + 1 + 2 * rng.poisson(pause)) * slot
    return Machine(_bursts(rows, gfsk(1, rng.uniform(0.14, 0.175), 0.5), rng))


def ble(length_s: float, rng: np.random.Generator) -> Machine:
    """An advertiser, or a connection."""
    rows = []
    wave = gfsk(1, rng.uniform(0.225, 0.275), 0.5)
    if rng.uniform() < 0.6:
        every, long = float(rng.choice([0.02, 0.03, 0.05, 0.1])), rng.uniform(128e-6, 376e-6)
        now, between = rng.uniform(0, every), max(rng.uniform(0.25e-3, 0.6e-3), long + 1e-4)
        while now < length_s:
            rows += [(now + n * between, long, f, 0) for n, f in enumerate((2402.0, 2426.0, 2480.0))]
            now += every + rng.uniform(0, 0.01)
        return Machine(_bursts(rows, wave, rng), (2402.0, 2426.0, 2480.0))
    every, channel, step = 1.25e-3 * int(rng.integers(6, 33)), int(rng.integers(37)), int(rng.integers(5, 17))
    now = rng.uniform(0, every)
    while now < length_s:
        f = 2404.0 + 2 * channel + (2 if channel >= 11 else 0)
        at = now
        for turn in range(2 if rng.uniform() < 0.7 else 4):
            long = float(rng.choice([80e-6, 80e-6, 200e-6, 328e-6]))
            rows.append((at, long, f, turn % 2))
            at += long + 150e-6
        channel, now = (channel + step) % 37, now + every
    return Machine(_bursts(rows, wave, rng))


def zigbee(length_s: float, rng: np.random.Generator) -> Machine:
    """A network on one channel: sensors that report, or a transfer; acknowledged mostly."""
    f = 2405.0 + 5 * int(rng.integers(16)) + rng.normal(0, 0.02)
    rows: list[tuple[float, float, float, int]] = []
    share = float(rng.uniform(0.02, 0.3) if rng.uniform() < 0.93 else rng.uniform(0.7, 0.95))
    bytes_each = int(rng.integers(20, 133))
    now = rng.uniform(0, 0.01)
    while now < length_s:
        size = bytes_each if rng.uniform() < 0.7 else int(rng.integers(20, 133))
        long = size * 32e-6
        rows.append((now, long, f, 0))
        used = long
        if rng.uniform() < 0.85:
            rows.append((now + long + 192e-6, 352e-6, f, 1))
            used += 544e-6
        now += used + 128e-6 + 320e-6 * int(rng.integers(8)) + rng.exponential(used * (1 - share) / share)
    return Machine(_bursts(rows, half_sine, rng), (f,))


def fhss_phone(length_s: float, rng: np.random.Generator) -> Machine:
    """Frames of 10 ms with twelve slots, or 24: one down, and in a call one up half a frame later; rarely two
    calls, or a call and a beacon."""
    frame = 10e-3 * (1 + rng.normal(0, 20e-6))
    slots = 24 if rng.uniform() < 0.1 else 12
    begin, long = rng.uniform(0, frame), rng.uniform(0.67e-3, 0.73e-3) * (1 if slots == 12 else 0.55)
    grid = 2401.1 + 0.864 * np.arange(91)
    call = rng.uniform() < 0.9
    other = int(rng.integers(1, slots // 2)) if call and rng.uniform() < 0.25 else 0
    beacon_s = long * rng.uniform(0.3, 1) if rng.uniform() < 0.5 else 0.0
    apart = rng.uniform() < 0.5
    rows = []
    for n in range(int(length_s / frame) + 1):
        f = float(rng.choice(grid))
        rows += [(begin + n * frame + up * frame / 2, long, f, up) for up in ((0, 1) if call else (0,))]
        if other:
            other_f = float(rng.choice(grid)) if apart else f
            at = begin + n * frame + other * frame / slots
            rows += (
                [(at, beacon_s, other_f, 0)]
                if beacon_s
                else [(at, long, other_f, 0), (at + frame / 2, long, other_f, 2)]
            )
    return Machine(_bursts(rows, gfsk(0.576, rng.uniform(0.1, 0.2), 0.5), rng))


def xbox(length_s: float, rng: np.random.Generator) -> Machine:
    """A console and its pads, which answer within the frame or in the next one."""
    raster = rng.uniform(2e-3, 10e-3) * (1 + rng.normal(0, 10e-6))
    begin = rng.uniform(0, raster)
    grid = 2403.0 + rng.permutation(77)[: int(rng.integers(30, 78))]
    if rng.uniform() < 0.08:
        grid = 2402.0 + 2 * rng.permutation(39)[: int(rng.integers(30, 40))]
    pads = int(rng.choice([1, 1, 2, 3, 4]))
    lengths = rng.uniform(0.2e-3, 0.6e-3, 2)
    alternate = rng.uniform() < 0.5
    gap = rng.uniform(0.1e-3, 0.4e-3)
    rows = []
    for n in range(int(length_s / raster) + 1):
        at, f = begin + n * raster, float(rng.choice(grid))
        if alternate:
            rows.append((at, float(lengths[n % 2]), f, n % 2))
            continue
        rows.append((at, float(lengths[0]), f, 0))
        for pad in range(pads):
            moment = at + lengths[0] + gap + pad * (lengths[1] + gap)
            if moment + lengths[1] < at + raster:
                rows.append((moment, float(lengths[1]), f, 1 + pad))
    return Machine(_bursts(rows, gfsk(1, 0.16, 0.5), rng))


def _tones(low_hz: float, high_hz: float, count: int, rng: np.random.Generator) -> Course:
    """Returns a sum of tones as loud as speech or music is at these frequencies, with a peak of about 1."""
    hertz = np.exp(rng.uniform(np.log(low_hz), np.log(high_hz), count))
    loud = rng.uniform(0.3, 1, count) / np.sqrt(hertz / low_hz)
    loud /= loud.sum() * 0.6
    phase = rng.uniform(size=count)

    def course(time_s: Numbers) -> Numbers:
        result = np.zeros_like(time_s)
        for each, volume, start in zip(hertz, loud, phase, strict=True):
            result += volume * np.sin(2 * np.pi * (each * time_s + start))
        return result

    return course


def analog_phone(length_s: float, rng: np.random.Generator) -> Machine:
    """Base and handset with speech of some kHz of deviation each."""
    base = rng.uniform(2403, 2478)
    far = rng.uniform(5, 35)
    handset = base + far if base + far < 2479 else base - far
    parts, usual = [], rng.uniform() < 0.8
    for f, gain in ((base, 0.0), (handset, -rng.uniform(0, 8))):
        voice = _tones(200, 3000, 8, rng)
        wide = rng.uniform(0.004, 0.04) if usual else rng.uniform(0.04, 0.12)
        parts.append(
            _constant(f, modulated(lambda t, v=voice, w=wide: w * v(t)), gain, rng.normal(0, 0.005))  # type: ignore[misc]
        )
    return Machine(parts, (base, handset))


def _camera_mhz(rng: np.random.Generator) -> float:
    return float(rng.choice([2414.0, 2432.0, 2450.0, 2468.0])) + rng.normal(0, 0.25)


def analog_audio(length_s: float, rng: np.random.Generator) -> Machine:
    """Stereo: sum, pilot of 19 kHz mostly, difference around 38 kHz, 0.2 to 0.5 MHz wide together."""
    f, peak = rng.uniform(2405, 2476), rng.uniform(0.075, 0.2)
    if rng.uniform() < 0.25:
        f = _camera_mhz(rng)  # Sold with cameras.
    left, right = _tones(60, 12000, 12, rng), _tones(60, 12000, 12, rng)
    pilot = 0.1 * (rng.uniform() < 0.8)

    def course(time_s: Numbers) -> Numbers:
        one, other = left(time_s), right(time_s)
        carrier = np.sin(2 * np.pi * 38e3 * time_s)
        return peak * (
            0.45 * (one + other) + 0.45 * (one - other) * carrier + pilot * np.sin(np.pi * 38e3 * time_s)
        )

    return Machine([_constant(f, modulated(course))], (f,))


def analog_video(length_s: float, rng: np.random.Generator) -> Machine:
    """A composite picture on FM: its lines with their sync, patches, detail, and sound above it."""
    f = _camera_mhz(rng)
    swing, detail = float(np.exp(rng.uniform(np.log(0.6), np.log(5.0)))), rng.uniform(0.02, 0.25)
    patches = (
        rng.uniform(0.3, 1.0, (40, 10)) if rng.uniform() < 0.8 else np.full((40, 10), rng.uniform(0.32, 0.6))
    )
    sound_mhz, sound = float(rng.choice([6.0, 6.5])), rng.uniform(0.2, 0.6)
    colour = rng.uniform(0, 0.15)
    line_s, lines = (64e-6, 312.5) if rng.uniform() < 0.6 else (63.556e-6, 262.5)

    def course(time_s: Numbers) -> Numbers:
        line, within = np.divmod(time_s, line_s)
        x, y = within / line_s, (line % lines) / lines
        value = patches[(y * 39.99).astype(int), np.clip((x - 0.17) / 0.83 * 10, 0, 9).astype(int)]
        value = value + detail * np.sin(2 * np.pi * (1.7e6 * time_s + 3 * y)) * np.sin(
            2 * np.pi * 0.21e6 * time_s
        )
        value = value + colour * np.sin(2 * np.pi * 4.43e6 * time_s)
        value = np.where(x < 0.073, 0.0, np.where(x < 0.17, 0.3, value))
        return swing * (value - 0.5) + sound * np.sin(2 * np.pi * sound_mhz * 1e6 * time_s)

    return Machine([_constant(f, modulated(course))], (f,))


def _oven(rng: np.random.Generator, inverter: bool) -> Machine:
    mains = float(rng.choice([50, 60])) + rng.normal(0, 0.05)
    phase, middle = rng.uniform(), rng.uniform(2450, 2468)
    least = rng.uniform(-0.1, 0.25) if inverter else rng.uniform(0.05, 0.45)
    sweep, rough = rng.uniform(3, 10), _tones(20e3, 60e3, 3, rng)
    width = rng.uniform(20, 50)
    switched = rng.uniform(0.5, 0.8) if inverter and rng.uniform() < 0.35 else 1.0
    switch_hz, shaken = rng.uniform(20e3, 50e3), rng.uniform(0, 2.5) if inverter else 0.0
    weakest = rng.uniform(0.1, 0.6) if inverter else 0.05

    def power(time_s: Numbers) -> Numbers:
        wave = np.sin(2 * np.pi * (mains * time_s + phase))
        return np.abs(wave) if inverter else wave

    def state(time_s: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        value = power(time_s)
        cycle = time_s * switch_hz % 1
        on = (value > least) & (cycle < switched)
        return (
            on.astype(float),
            middle + sweep * (np.clip(value, 0, 1) - 0.6) + shaken * np.sin(2 * np.pi * cycle),
            20 * np.log10(np.maximum(value, weakest)),
        )

    def snap(time_s: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        near = np.abs(power(time_s) - least) < 0.09
        return near.astype(float), np.full(len(time_s), middle), np.full(len(time_s), -8.0)

    parts = [Part(modulated(lambda t: 0.6 * rough(t)), state)]
    if not inverter:
        parts.append(Part(noise(width), snap))
    return Machine(parts)


def microwave(length_s: float, rng: np.random.Generator) -> Machine:
    """An oven with a transformer: on in one half of each cycle of the mains."""
    return _oven(rng, inverter=False)


def inverter_microwave(length_s: float, rng: np.random.Generator) -> Machine:
    """An oven with an inverter: on in both halves."""
    return _oven(rng, inverter=True)


def cw(length_s: float, rng: np.random.Generator) -> Machine:
    """A tone."""
    f = rng.uniform(2404, 2476)
    return Machine([_constant(f, modulated(np.zeros_like))], (f,))


MACHINES: dict[str, Callable[[float, np.random.Generator], Machine]] = {
    each.__name__: each
    for each in (
        bluetooth, ble, zigbee, fhss_phone, xbox, analog_phone, analog_audio, analog_video, microwave,
        inverter_microwave, cw,
    )
}  # fmt: skip
"""Makes a device live for so many seconds."""
