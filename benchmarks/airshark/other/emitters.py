"""What the devices of the second model do: when they send, where, how strongly and how wide."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Numbers: TypeAlias = "npt.NDArray[np.float64]"
SYNC_SHARE = 0.073
"""Of each line of a picture."""
FIELD_HZ, LINE_HZ, PILOT_HZ = 50.0, 15_625.0, 19e3
NO_PICTURE: Numbers = np.zeros((1, 1))
"""How far the parts of a picture, row by row, move a carrier: not at all."""


@dataclass
class Signal:
    """One transmitter: bursts that do not overlap, or something that a function of time describes."""

    shape: str
    """Name of the power density in `receiver`."""
    width_mhz: float
    bursts: Numbers = field(default_factory=lambda: np.zeros((4, 0)))
    """Starts and ends in seconds, frequencies in MHz, gains in dB; in order."""
    course: "Callable[[Numbers, np.random.Generator], tuple[Numbers, Numbers, Numbers]] | None" = None
    """Of times: whether it is on (0 or 1), its frequency in MHz, its gain in dB."""
    fluctuates: bool = True
    """Whether its bins vary as noise does."""


@dataclass
class Emitter:
    """One device."""

    signals: list[Signal]
    places_mhz: list[float] = field(default_factory=list)
    """Where it can be found, if it stays."""


def _hops(
    rows: "list[tuple[float, float, float, int]]", width_mhz: float, shape: str, rng: np.random.Generator
) -> list[Signal]:
    """Returns a signal for each sender, whose number is the last of each row: none is as near as another."""
    table = np.array(sorted(rows)).reshape(-1, 4)
    senders = int(table[:, 3].max(initial=0)) + 1
    loss = np.abs(rng.normal(0, 7, senders))
    signals = []
    for number, each in enumerate(loss - loss.min()):
        own = table[table[:, 3] == number]
        gain = rng.normal(0, 1.2, len(own)) - each
        bursts = np.stack((own[:, 0], own[:, 0] + own[:, 1], own[:, 2], gain))
        signals.append(Signal(shape, width_mhz, bursts))
    return signals


def bluetooth(length_s: float, rng: np.random.Generator) -> Emitter:
    """Master and slave in slots of 625 us; ACL packets of one link type, voice, or a mouse."""
    tick = 625e-6 * (1 + rng.uniform(-20e-6, 20e-6))
    offset = rng.uniform(0, tick)
    used = np.arange(79)
    chosen = rng.uniform() < 0.3
    if chosen:
        used = rng.choice(79, int(rng.integers(20, 60)), replace=False)
    rows: list[tuple[float, float, float, int]] = []
    link = str(rng.choice(["hv3", "ev3", "mouse", "dh1", "dh3", "dh5", "file", "a2dp"]))
    sniff = 2 * int(rng.integers(4, 12))
    moves = rng.uniform(160e-6, 280e-6)
    voice_pause = int(rng.choice([4, 6, 10]))
    slot = 0
    while slot * tick < length_s:
        if link == "hv3":
            sizes = [(1, 366e-6), (1, 366e-6)]
            wait = 4
        elif link == "ev3":
            sizes = [(1, 366e-6), (1, 366e-6)]
            wait = voice_pause
        elif link == "mouse":
            sizes = [(1, 126e-6), (1, moves)]
            wait = sniff - 2
        elif link == "a2dp":
            sizes = [(5, 2.871e-3 * rng.uniform(0.75, 1)), (1, 126e-6)]
            wait = 2 * int(rng.integers(0, 8))
        elif link == "file":
            sizes = [(int(n), (n - 1) * 625e-6 + 366e-6) for n in rng.choice([1, 3, 5], 1)] + [(1, 126e-6)]
            wait = 2 * int(rng.uniform() < 0.3)
        else:
            n = int(link[2])
            sizes = [(n, (n - 1) * 625e-6 + 366e-6), (1, float(rng.choice([126e-6, 366e-6])))]
            wait = 2 * int(rng.geometric(0.6) - 1)
        asked = float(rng.choice(used))
        for sender, (count, long) in enumerate(sizes):
            place = asked if chosen or not sender else float(rng.choice(used))
            rows.append((offset + slot * tick, long, 2402 + place, sender))
            slot += count
        slot += wait
    return Emitter(_hops(rows, 0.9, "bell", rng))


def ble(length_s: float, rng: np.random.Generator) -> Emitter:
    """An advertiser, and perhaps a connection."""
    rows: list[tuple[float, float, float, int]] = []
    kind = int(rng.integers(3))
    places: list[float] = []
    if kind != 1:
        period = float(rng.choice([0.02, 0.04, 0.06, 0.1]))
        at = rng.uniform(0, period)
        long = rng.uniform(130e-6, 376e-6)
        gap = rng.uniform(0.3e-3, 0.5e-3)
        while at < length_s:
            rows += [
                (at + n * max(gap, long + 5e-5), long, f, 0) for n, f in enumerate((2402.0, 2426.0, 2480.0))
            ]
            at += period + rng.uniform(0, 0.01)
        places = [2402.0, 2426.0, 2480.0]
    if kind != 0:
        event, hop, channel = 1.25e-3 * int(rng.integers(6, 25)), int(rng.integers(5, 17)), 0
        at = rng.uniform(0, event)
        while at < length_s:
            channel = (channel + hop) % 37
            f = 2404.0 + 2 * channel + (2 if channel > 10 else 0)
            moment = at
            for turn in range(2 * int(rng.integers(1, 3))):
                long = float(rng.choice([80e-6, 144e-6, 296e-6, 376e-6]))
                rows.append((moment, long, f, turn % 2))
                moment += long + 150e-6
            at += event
    return Emitter(_hops(rows, 1.1, "bell", rng), places)


def zigbee(length_s: float, rng: np.random.Generator) -> Emitter:
    """A sensor network at some duty: frames of a kind or two, with acknowledgements."""
    f = 2405.0 + 5 * int(rng.integers(16)) + rng.uniform(-0.04, 0.04)
    duty = 10 ** rng.uniform(-1.7, -0.5) if rng.uniform() < 0.93 else rng.uniform(0.6, 0.9)
    kinds = rng.uniform(0.6e-3, 4.25e-3, int(rng.integers(1, 3)))
    acknowledged = rng.uniform() < 0.8
    regular = rng.uniform() < 0.3
    at, rows = rng.uniform(0, 5e-3), []
    while at < length_s:
        long = float(rng.choice(kinds))
        rows.append((at, long, f, 0))
        end = at + long
        if acknowledged:
            rows.append((end + 192e-6, 352e-6, f, 1))
            end += 544e-6
        pause = long / duty - long
        at = end + (pause if regular else rng.exponential(pause)) + 320e-6 * int(rng.integers(0, 8))
    return Emitter(_hops(rows, 2.0, "msk", rng), [f])


def fhss_phone(length_s: float, rng: np.random.Generator) -> Emitter:
    """A base with one handset in call, perhaps with a beacon besides, or alone with its beacon."""
    frame = 10e-3 * (1 + rng.uniform(-50e-6, 50e-6))
    step = float(rng.choice([0.864, 0.864, 1.0]))
    half = 12 if rng.uniform() < 0.1 else 6
    slot = 5e-3 / half * int(rng.integers(0, half))
    burst = rng.uniform(0.66e-3, 0.74e-3) if half == 6 else rng.uniform(0.365e-3, 0.4e-3)
    talking = rng.uniform() < 0.85
    beacon = 5e-3 / half * int(rng.integers(1, half)) if talking and rng.uniform() < 0.2 else 0.0
    rows = []
    for n in range(int(length_s / frame) + 1):
        f = 2402 + step * int(rng.integers(0, int(77 / step)))
        rows.append((n * frame + slot, burst, f, 0))
        if talking:
            rows.append((n * frame + slot + 5e-3, burst, f, 1))
        if beacon:
            rows.append((n * frame + slot + beacon, burst * 0.6, f, 0))
    return Emitter(_hops(rows, 1.0, "bell", rng))


def xbox(length_s: float, rng: np.random.Generator) -> Emitter:
    """A console and one to four pads: in one frame after another, or by turns."""
    raster = rng.uniform(2e-3, 10e-3)
    channels = 2402.0 + rng.choice(79, int(rng.integers(30, 80)), replace=False)
    if rng.uniform() < 0.08:
        channels = 2402.0 + 2 * rng.choice(40, int(rng.integers(30, 40)), replace=False)
    console = rng.uniform(0.2e-3, 0.6e-3)
    pads = [rng.uniform(0.2e-3, 0.6e-3) for _ in range(int(rng.choice([1, 1, 1, 2, 4])))]
    by_turns, guard = rng.uniform() < 0.4, rng.uniform(0.05e-3, 0.3e-3)
    own_frequency = rng.uniform() < 0.3
    rows = []
    for n in range(int(length_s / raster) + 1):
        f = float(rng.choice(channels))
        if by_turns:
            talkers = [console, *pads]
            rows.append((n * raster, talkers[n % len(talkers)], f, n % len(talkers)))
            continue
        rows.append((n * raster, console, f, 0))
        at = n * raster + console + guard
        for number, pad in enumerate(pads, 1):
            if at + pad < (n + 1) * raster:
                rows.append((at, pad, float(rng.choice(channels)) if own_frequency else f, number))
                at += pad + guard
    return Emitter(_hops(rows, 0.9, "bell", rng))


def _steady(
    f: float,
    drift_mhz: float,
    moves_mhz: float,
    gain_db: float = 0.0,
    alike: int = 1,
    sync_mhz: float = 0.0,
    picture_mhz: Numbers = NO_PICTURE,
    pilot_mhz: float = 0.0,
) -> "Callable[[Numbers, np.random.Generator], tuple[Numbers, Numbers, Numbers]]":
    def course(time_s: Numbers, rng: np.random.Generator) -> tuple[Numbers, Numbers, Numbers]:
        one = np.ones(len(time_s))
        wave = np.sin(2 * np.pi * time_s * rng.uniform(0.02, 0.1))
        # What moves it slowly is much the same in `alike` looks.
        noise = rng.normal(0, 1, len(time_s) + alike)
        sums = np.cumsum(noise)
        moves = (sums[alike:] - sums[:-alike]) / np.sqrt(alike)
        moves = moves * moves_mhz - sync_mhz * (time_s * LINE_HZ % 1 < SYNC_SHARE)
        row, column = (
            (time_s * hertz % 1 * count).astype(int)
            for hertz, count in zip((FIELD_HZ, LINE_HZ), picture_mhz.shape, strict=True)
        )
        moves = moves + picture_mhz[row, column] + pilot_mhz * np.sin(2 * np.pi * PILOT_HZ * time_s)
        return one, f + drift_mhz * wave + moves, one * gain_db

    return course


def analog_phone(length_s: float, rng: np.random.Generator) -> Emitter:
    """Base and handset, each with a narrow carrier."""
    base = rng.uniform(2404, 2476)
    away = float(rng.choice([-1, 1])) * rng.uniform(3, 36)
    handset = base + away if 2402 < base + away < 2479 else base - away
    places = [base] if rng.uniform() < 0.1 else [base, handset]
    moves, alike = 0.013 * rng.uniform() ** 2, int(rng.choice([1, 2, 4]))
    if rng.uniform() < 0.2:
        moves = rng.uniform(0.013, 0.04)
    return Emitter(
        [
            Signal(
                "bell", rng.uniform(0.02, 0.15), fluctuates=False,
                course=_steady(f, rng.uniform(0.003, 0.03), moves, gain, alike),
            )
            for f, gain in zip(places, (0.0, -rng.uniform(0, 10)), strict=False)
        ],
        places,
    )  # fmt: skip


def _camera_mhz(rng: np.random.Generator) -> float:
    return float(rng.choice([2414.0, 2432.0, 2450.0, 2468.0])) + rng.uniform(-0.5, 0.5)


def analog_audio(length_s: float, rng: np.random.Generator) -> Emitter:
    """Stereo music on one carrier: one or two bins wide, or its frequency moves as far at most."""
    # Some are on the channels of cameras.
    f = rng.uniform(2405, 2475) if rng.uniform() < 0.75 else _camera_mhz(rng)
    width = rng.uniform(0.2, 0.5)
    moving, share, alike = rng.uniform() < 0.6, rng.uniform(0.06, 0.25), int(rng.choice([1, 2, 5, 12]))
    pilot = width * rng.uniform(0.02, 0.045) * (rng.uniform() < 0.75)
    share = share if pilot else max(share, 0.1)
    return Emitter(
        [
            Signal(
                "bell",
                0.08 if moving else width,
                course=_steady(f, 0.005, width * share if moving else 0.02, 0.0, alike, pilot_mhz=pilot),
                fluctuates=not moving,
            )
        ],
        [f],
    )


def analog_video(length_s: float, rng: np.random.Generator) -> Emitter:
    """A picture that moves its carrier, with a busy part around it and sound beside it."""
    f = _camera_mhz(rng)
    swing, busy = rng.uniform(0.2, 1.5), rng.uniform(2, 8)
    if rng.uniform() < 0.15:
        swing = rng.uniform(0.02, 0.2)  # An even picture.
    sync = rng.uniform(0.3, 2)
    columns = rng.normal(0, swing * rng.uniform(0.2, 1), (1, 8)) * (rng.uniform() < 0.8)
    rows = rng.normal(0, swing * rng.uniform(0, 1), (6, 1)) * (rng.uniform() < 0.5)
    sound = float(rng.choice([6.0, 6.5]))
    sidebands = -rng.uniform(15, 28)
    return Emitter(
        [
            Signal(
                "bell",
                rng.uniform(0.2, 0.7),
                course=_steady(f, 0.02, swing, sync_mhz=sync, picture_mhz=rows + columns),
            ),
            Signal("bell", busy, course=_steady(f, 0, 0, -rng.uniform(3, 12))),
            Signal("bell", 0.3, course=_steady(f + sound, 0, 0.1, sidebands)),
            Signal("bell", 0.3, course=_steady(f - sound, 0, 0.1, sidebands)),
        ],
        [f],
    )


def _oven(length_s: float, rng: np.random.Generator, inverter: bool) -> Emitter:
    mains = float(rng.choice([50, 60])) * (1 + rng.uniform(-0.002, 0.002)) * (2 if inverter else 1)
    phase, on = rng.uniform(), rng.uniform(0.75, 1.0) if inverter else rng.uniform(0.3, 0.52)
    centre, sweep = 2458 + rng.uniform(-8, 8), rng.uniform(2, 12)
    skewed = rng.uniform(0.3, 0.7)
    chopped = rng.uniform(0.5, 0.8) if inverter and rng.uniform() < 0.35 else 1.0
    shaken, floor = (rng.uniform(0, 2.5), rng.uniform(0.1, 0.65)) if inverter else (0.0, 0.1)

    def course(time_s: Numbers, rng: np.random.Generator) -> tuple[Numbers, Numbers, Numbers]:
        at = (time_s * mains + phase) % 1 / on
        inside = np.clip(at, 0, 1)
        there = np.where(inside < skewed, inside / skewed, (1 - inside) / (1 - skewed))
        f = centre + sweep * (there - 0.5) + rng.normal(0, 0.3, len(time_s))
        f += shaken * np.cos(rng.uniform(0, 2 * np.pi, len(time_s)))
        sends = (at < 1) & (rng.uniform(size=len(at)) < chopped)
        return sends.astype(float), f, 20 * np.log10(np.maximum(np.sin(np.pi * inside), floor))

    def edges(time_s: Numbers, rng: np.random.Generator) -> tuple[Numbers, Numbers, Numbers]:
        at = (time_s * mains + phase) % 1 / on
        edge = ((at < 0.06) | ((at > 0.94) & (at < 1))).astype(float)
        return edge, np.full(len(time_s), centre), np.full(len(time_s), -6.0)

    signals = [Signal("bell", rng.uniform(0.4, 2.0), course=course)]
    if not inverter:
        signals.append(Signal("flat", rng.uniform(15, 45), course=edges))
    return Emitter(signals)


def microwave(length_s: float, rng: np.random.Generator) -> Emitter:
    """An oven with a transformer."""
    return _oven(length_s, rng, inverter=False)


def inverter_microwave(length_s: float, rng: np.random.Generator) -> Emitter:
    """An oven with an inverter."""
    return _oven(length_s, rng, inverter=True)


def cw(length_s: float, rng: np.random.Generator) -> Emitter:
    """One tone."""
    f = rng.uniform(2404, 2476)
    return Emitter([Signal("bell", 0.01, course=_steady(f, 0, 0), fluctuates=False)], [f])


EMITTERS: dict[str, Callable[[float, np.random.Generator], Emitter]] = {
    each.__name__: each
    for each in (
        bluetooth, ble, zigbee, fhss_phone, xbox, analog_phone, analog_audio, analog_video, microwave,
        inverter_microwave, cw,
    )
}  # fmt: skip
"""Makes a device live for so many seconds."""
