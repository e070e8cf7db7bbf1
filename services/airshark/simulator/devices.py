"""The devices a scenario can hold, drawn anew for each seed: clocks, hop sequences, models, loads."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from services.airshark.simulator.emissions import Bursts, Carrier, Floats, Oven, Program, Transmitter
from services.airshark.simulator.waveforms import Modulation

Stations: TypeAlias = "npt.NDArray[np.intp]"
Maker: TypeAlias = "Callable[[float, np.random.Generator], list[Transmitter]]"

SLOT_S = 625e-6
BLUETOOTH_USES = ("voice", "one", "three", "five", "mixed", "music", "keyboard", "search")
BLUETOOTH_SHARES = (0.22, 0.12, 0.14, 0.16, 0.15, 0.1, 0.06, 0.05)
PICTURES_HZ = ((50.0, 15_625.0), (59.94, 15_734.27))
"""So often a picture begins anew, and a line of it."""
VIDEO_MHZ = [2414.0, 2432.0, 2450.0, 2468.0]
PILOT_HZ = 19e3


def _clock(rng: np.random.Generator, ppm: float) -> float:
    return 1 + rng.uniform(-ppm, ppm) * 1e-6


def _fading(count: int, rng: np.random.Generator) -> Floats:
    """Returns the gain of each burst in dB for a hand-held in a room: a strong path and some weak ones."""
    scattered = rng.normal(0, 0.15, (2, count))
    gain: Floats = 10 * np.log10((1 + scattered[0]) ** 2 + scattered[1] ** 2)
    return gain


def _bursts(
    start_s: Floats,
    length_s: Floats,
    frequency: Floats,
    modulation: Modulation,
    rng: np.random.Generator,
    gain_db: float = 0.0,
) -> Bursts:
    order = np.argsort(start_s, kind="stable")
    start_s, length_s, frequency = start_s[order], length_s[order], frequency[order]
    gain = gain_db + _fading(len(start_s), rng)
    return Bursts(start_s, start_s + length_s, frequency, gain, modulation)


def _stations(
    start_s: Floats,
    length_s: Floats,
    frequency: Floats,
    station: Stations,
    modulation: Modulation,
    rng: np.random.Generator,
) -> list[Transmitter]:
    """Returns the stations of a network, each with the bursts that bear its number.

    They lie at different distances mostly: one is as strong as the scenario says, the others are weaker.
    """
    count = int(station.max()) + 1
    weaker_db = rng.uniform(0, 15, count) * (rng.uniform() < 0.75)
    weaker_db[rng.integers(count)] = 0.0
    each = [station == number for number in range(count)]
    return [
        _bursts(start_s[mine], length_s[mine], frequency[mine], modulation, rng, -float(weaker))
        for mine, weaker in zip(each, weaker_db, strict=True)
    ]


def bluetooth(seconds: float, rng: np.random.Generator) -> list[Transmitter]:
    """One piconet with voice, data in packets of one, three or five slots at some load, music, or a keyboard;
    or a search for devices."""
    channels = np.arange(79)
    adaptive = rng.uniform() < 0.4
    if adaptive:
        # Adaptive hopping avoids one Wi-Fi channel, or all that it found bad: twenty remain at least.
        avoided = rng.choice([10, 35, 60])
        channels = channels[(channels < avoided - 10) | (channels > avoided + 11)]
        if rng.uniform() < 0.5:
            channels = rng.choice(79, int(rng.integers(20, 70)), replace=False)
    kind = str(rng.choice(BLUETOOTH_USES, p=BLUETOOTH_SHARES))
    if kind == "search":
        return [_search(seconds, rng)]
    slots = int(seconds / SLOT_S) + 8
    starts: list[int] = []
    lengths: list[float] = []
    slot, load = 0, rng.uniform(0.15, 1.0)
    shortest, answers = rng.uniform(0.7, 1.0), rng.choice([126e-6, 240e-6, 366e-6], 2)
    every = int(rng.choice([6, 6, 8, 12])) if kind == "voice" else 2 * int(rng.integers(4, 13))
    together, music_s = int(rng.integers(3, 7)), rng.uniform(0.02, 0.03)
    report_s = 366e-6 if kind == "voice" else rng.uniform(126e-6, 300e-6)
    while slot < slots:
        if kind in ("voice", "keyboard"):
            starts += [slot, slot + 1]
            lengths += [366e-6 if kind == "voice" else 126e-6, report_s]
            slot += every
            continue
        if kind == "music":
            # What was played meanwhile comes in some long packets, one after another.
            for number in range(together):
                starts += [slot + 6 * number, slot + 6 * number + 5]
                lengths += [2870e-6 * rng.uniform(shortest, 1.0), 126e-6]
            slot += max(2 * round(music_s * rng.uniform(0.9, 1.1) / SLOT_S / 2), 6 * together)
            continue
        size = {"one": 1, "three": 3, "five": 5}.get(kind) or int(rng.choice([1, 1, 3, 5]))
        if rng.uniform() < load:
            starts.append(slot)
            lengths.append({1: 366e-6, 3: 1622e-6, 5: 2870e-6}[size] * rng.uniform(shortest, 1.0))
            starts.append(slot + size)
            lengths.append(rng.choice(answers))
        slot += size + 1
    start = (np.array(starts, float) * SLOT_S) * _clock(rng, 20) + rng.uniform(0, SLOT_S)
    station = np.arange(len(start)) % 2
    hops = rng.choice(channels, len(start))
    if adaptive:
        # The slave answers on the frequency on which it was asked.
        hops[1::2] = hops[::2]
    frequency = 2402.0 + hops + rng.normal(0, 0.02, 2)[station]
    return _stations(start, np.array(lengths, float), frequency, station, Modulation.GFSK_BASIC, rng)


def _search(seconds: float, rng: np.random.Generator) -> Bursts:
    """A piconet that looks for others: two short calls in every other slot, on 32 frequencies in turn."""
    calls = int(seconds / (2 * SLOT_S)) + 1
    start = (np.arange(calls)[:, None] * 2 * SLOT_S + np.array([0.0, SLOT_S / 2])).reshape(-1)
    start = start * _clock(rng, 20) + rng.uniform(0, 2 * SLOT_S)
    hops = rng.permutation(79)[:32]
    places = np.tile(hops, len(start) // 32 + 1)[: len(start)].astype(np.float64)
    frequency = 2402.0 + places + rng.normal(0, 0.02)
    return _bursts(start, np.full(len(start), 68e-6), frequency, Modulation.GFSK_BASIC, rng)


def ble(seconds: float, rng: np.random.Generator) -> list[Transmitter]:
    """An advertiser, or a connection; each alone, or both."""
    transmitters: list[Transmitter] = []
    kind = rng.choice(["advertising", "connection", "both"])
    if kind != "connection":
        interval = rng.uniform(0.02, 0.12)
        begins = np.cumsum(interval + rng.uniform(0, 0.01, int(seconds / interval) + 1))
        on_air = rng.uniform(120e-6, 376e-6)
        between = on_air + rng.uniform(100e-6, 350e-6)
        start = (begins[:, None] + np.arange(3) * between).reshape(-1)
        frequency = np.tile([2402.0, 2426.0, 2480.0], len(begins))
        transmitters.append(_bursts(start, np.full(len(start), on_air), frequency, Modulation.GFSK_LE, rng))
    if kind != "advertising":
        interval = 1.25e-3 * rng.integers(6, 28)
        events = int(seconds / interval) + 1
        hop = rng.integers(5, 17)
        channel = (rng.integers(0, 37) + hop * np.arange(events)) % 37
        frequency = np.where(channel < 11, 2404 + 2 * channel, 2406 + 2 * channel).astype(float)
        begins = np.arange(events) * interval * _clock(rng, 50) + rng.uniform(0, interval)
        packets = int(rng.choice([1, 2, 3]))
        sizes = rng.uniform(80e-6, 380e-6, int(rng.integers(1, 5)))
        length = rng.choice(sizes, (events, 2 * packets))
        offset = np.cumsum(np.pad(length + 150e-6, ((0, 0), (1, 0))), axis=1)[:, :-1]
        transmitters += _stations(
            (begins[:, None] + offset).reshape(-1),
            length.reshape(-1),
            np.repeat(frequency, 2 * packets),
            np.tile([0, 1], events * packets),
            Modulation.GFSK_LE,
            rng,
        )
    return transmitters


def zigbee(seconds: float, rng: np.random.Generator) -> list[Transmitter]:
    """A network on one channel: data frames after random back-off, most with acknowledgements."""
    frequency = 2405.0 + 5 * rng.integers(0, 16) + rng.normal(0, 0.03)
    pause_s = 10 ** rng.uniform(-2.7, -1.1)
    begin, starts, lengths, station = 0.0, [], [], []
    typical = rng.uniform(0.6e-3, 4.2e-3, int(rng.integers(1, 3)))
    scatter = float(rng.choice([0, 0.3e-3]))
    acknowledged, regular = rng.uniform() < 0.8, rng.uniform() < 0.25
    if rng.uniform() < 0.08:
        # A transfer, which hardly pauses.
        pause_s, typical = rng.uniform(0.0, 0.6e-3), rng.uniform(3.5e-3, 4.256e-3, 1)
    while begin < seconds:
        begin += (pause_s if regular else rng.exponential(pause_s)) + 320e-6 * rng.integers(1, 8) + 128e-6
        length = float(np.clip(rng.normal(rng.choice(typical), scatter), 352e-6, 4256e-6))
        starts.append(begin)
        lengths.append(length)
        station.append(0)
        begin += length
        if acknowledged:
            starts.append(begin + 192e-6)
            lengths.append(352e-6)
            station.append(1)
            begin += 544e-6
    frequencies = np.full(len(starts), frequency)
    return _stations(
        np.array(starts), np.array(lengths), frequencies, np.array(station), Modulation.OQPSK, rng
    )


def fhss_phone(seconds: float, rng: np.random.Generator) -> list[Transmitter]:
    """One call or two: a slot down and one up in each frame of 10 ms, on a frequency of the frame's own, with
    or without a beacon in another slot; or a base alone, with its beacon."""
    frames = int(seconds / 0.01) + 2
    begins = np.arange(frames) * 0.01 * _clock(rng, 50) + rng.uniform(0, 0.01)
    step = float(rng.choice([0.864, 0.864, 0.9, 1.0, 1.728]))
    grid = rng.uniform(2400.5, 2403.0) + step * np.arange(int(77 / step))
    hops = grid[rng.integers(0, len(grid), frames)]
    slots: tuple[float, ...] = (0.0, 0.005) if rng.uniform() < 0.8 else (0.0,)
    # Some have 24 short slots instead of 12.
    in_frame, burst_s = (24, (360e-6, 405e-6)) if rng.uniform() < 0.1 else (12, (640e-6, 770e-6))
    if len(slots) == 2 and rng.uniform() < 0.12:
        # A second handset, some slots later.
        later_s = 0.01 / in_frame * float(rng.integers(1, in_frame // 2))
        slots = (0.0, 0.005, later_s, 0.005 + later_s)
    elif len(slots) == 2 and rng.uniform() < 0.15:
        slots = (0.0, 0.005, 0.01 / in_frame * float(rng.integers(1, in_frame // 2)))
    start = (begins[:, None] + np.array(slots)).reshape(-1)
    length = np.full((frames, len(slots)), rng.uniform(*burst_s))
    if len(slots) == 3:
        length[:, 2] *= rng.uniform(0.4, 1)
    station = np.tile(np.array([0, 1, 0, 2])[: len(slots)], frames)
    frequency = np.repeat(hops, len(slots))
    return _stations(start, length.reshape(-1), frequency, station, Modulation.GFSK_PHONE, rng)


def xbox(seconds: float, rng: np.random.Generator) -> list[Transmitter]:
    """A console and up to four pads; figures that are not public are drawn widely.

    They take turns frame by frame, or all within a frame, on its frequency or each on one of its own.
    """
    raster = float(rng.choice([rng.uniform(0.002, 0.010), rng.choice([0.002, 0.004, 0.005, 0.008, 0.010])]))
    frames = int(seconds / raster) + 2
    begins = np.arange(frames, dtype=np.float64) * raster * _clock(rng, 30) + rng.uniform(0, raster)
    channels = 2402.0 + rng.permutation(79)[: rng.integers(30, 80)]
    if rng.uniform() < 0.08:
        channels = 2402.0 + 2.0 * rng.permutation(40)[: rng.integers(30, 41)]
    stations = 1 + int(rng.choice([1, 1, 1, 2, 3, 4]))
    lengths: Floats = rng.uniform(0.2e-3, 0.6e-3, stations)
    if rng.uniform() < 0.5:
        lengths[1:] = lengths[1]
    hops: Floats = rng.choice(channels, frames)
    if rng.uniform() < 0.4:
        turns: Floats = np.tile(lengths, frames)[:frames]
        return _stations(begins, turns, hops, np.arange(frames) % stations, Modulation.GFSK_BASIC, rng)
    even = rng.uniform() < 0.3
    offset = np.arange(stations) * (raster / stations if even else 0.0)
    if not even:
        offset[1:] = np.cumsum(lengths[:-1] + rng.uniform(0.05e-3, 0.6e-3))
    fits = offset + lengths < raster
    offset, lengths = offset[fits], lengths[fits]
    frequency = np.repeat(hops, len(offset))
    if rng.uniform() < 0.35:
        frequency = rng.choice(channels, len(frequency))
    start = (begins[:, None] + offset).reshape(-1)
    station = np.tile(np.arange(len(offset)), frames)
    return _stations(start, np.tile(lengths, frames), frequency, station, Modulation.GFSK_BASIC, rng)


def _between(low: float, high: float, rng: np.random.Generator) -> float:
    """Returns a size of which each octave is as likely as any other."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _program(low_hz: float, high_hz: float, deviation_mhz: float, rng: np.random.Generator) -> Program:
    """Returns speech or music that moves a carrier by so much, as a standard deviation."""
    hertz = np.exp(rng.uniform(np.log(low_hz), np.log(high_hz), 10))
    loud = rng.uniform(0.2, 1, 10) * (low_hz / hertz) ** rng.uniform(0, 0.7)
    loud *= deviation_mhz * np.sqrt(2 / (loud**2).sum())
    return Program(hertz, loud, rng.uniform(size=10))


def _again(hertz: float, count: int, deviation_mhz: float, rng: np.random.Generator) -> Program:
    """Returns what comes again so often and moves a carrier by so much, as a standard deviation."""
    order = np.arange(1.0, count + 1.0)
    loud: Floats = rng.normal(0, 1, count) / order
    loud *= deviation_mhz * np.sqrt(2 / (loud**2).sum())
    return Program(hertz * order, loud, rng.uniform(size=count))


def _both(one: Program, other: Program) -> Program:
    return Program(
        np.concatenate((one.hertz, other.hertz)),
        np.concatenate((one.deviation, other.deviation)),
        np.concatenate((one.phase, other.phase)),
    )


def analog_phone(seconds: float, rng: np.random.Generator) -> list[Transmitter]:
    """Base and handset, each on a frequency of its own, with speech that moves it by some kilohertz.

    Its peak is 5 to 40 kHz, now and then up to 120 kHz, of which speech with its pauses reaches a fifth to a
    third on average.
    """
    base = rng.uniform(2403, 2478)
    away = rng.choice([-1, 1]) * rng.uniform(2, 37)
    handset = base + away if 2402 < base + away < 2480 else base - away
    wander = _between(0.001, 0.013, rng) if rng.uniform() < 0.8 else _between(0.013, 0.04, rng)
    noisy = rng.uniform() < 0.4

    def carrier(frequency_mhz: float, gain_db: float) -> Carrier:
        drift = rng.uniform(0.0, 0.03)
        if noisy:
            return Carrier(frequency_mhz, Modulation.TONE, wander, drift_mhz=drift, gain_db=gain_db)
        speech = _program(200, 3400, wander * rng.uniform(0.6, 1), rng)
        return Carrier(frequency_mhz, Modulation.TONE, program=speech, drift_mhz=drift, gain_db=gain_db)

    carriers: list[Transmitter] = [carrier(base, 0.0)]
    if rng.uniform() < 0.9:
        carriers.append(carrier(handset, rng.uniform(-10, 0)))
    return carriers


def analog_audio(seconds: float, rng: np.random.Generator) -> list[Transmitter]:
    """Music with its stereo multiplex on one FM carrier, 0.2 to 0.5 MHz wide.

    By Carson's rule that is a peak of 0.05 to 0.2 MHz, of which music reaches a fifth to a half on average;
    some widen its spectrum instead. Most have the pilot tone of stereo, of a tenth of the peak.
    """
    frequency, drift = rng.uniform(2405, 2475), rng.uniform(0, 0.01)
    if rng.uniform() < 0.25:
        # Some share the channels of video senders.
        frequency = rng.choice(VIDEO_MHZ) + rng.normal(0, 0.3)
    stereo = rng.uniform() < 0.75
    pilot_mhz = rng.uniform(0.005, 0.018) / np.sqrt(2) if stereo else 0.0
    pilot = _again(PILOT_HZ * _clock(rng, 50), 1, pilot_mhz, rng)
    kind = rng.uniform()
    if kind < 0.2:
        return [Carrier(frequency, Modulation.MULTIPLEX, rng.uniform(0.0, 0.05), pilot, drift_mhz=drift)]
    if kind < 0.4:
        shape = Modulation.MULTIPLEX if rng.uniform() < 0.5 else Modulation.TONE
        return [Carrier(frequency, shape, rng.uniform(0.04, 0.12), pilot, drift_mhz=drift, fades=True)]
    # With one side alone, the same width is that of more movement.
    moves = _between(0.012 if stereo else 0.02, 0.12, rng)
    if kind < 0.6:
        return [Carrier(frequency, Modulation.TONE, moves, pilot, drift_mhz=drift)]
    # The difference of both sides lies around 38 kHz, too fast for neighbouring windows to be alike.
    slow = rng.uniform(0.5, 1)
    music = _both(_program(40, 15e3, moves * slow, rng), pilot)
    fast = moves * float(np.sqrt(1 - slow**2))
    return [Carrier(frequency, Modulation.TONE, fast, music, drift_mhz=drift)]


def analog_video(seconds: float, rng: np.random.Generator) -> list[Transmitter]:
    """A camera or video sender on one of the four usual channels."""
    frequency = rng.choice(VIDEO_MHZ) + rng.normal(0, 0.3)
    # From an even picture, which the synchronisation of its lines alone moves, to a lively one.
    lively = rng.uniform()
    moves = _between(0.02, 0.2, rng) if lively < 0.15 else rng.uniform(0.2, 0.7)
    if lively > 0.65:
        moves = rng.uniform(0.4, 1.6)
    # From left to right, and from top to bottom, a picture is not equally bright, and so again and again.
    picture_hz, line_hz = PICTURES_HZ[int(rng.uniform() < 0.5)]
    upright = rng.uniform(0.2, 1.2) * (rng.uniform() < 0.6)
    bright = _both(
        _again(line_hz * _clock(rng, 50), 6, moves * rng.uniform(0.2, 1.0) * (rng.uniform() < 0.8), rng),
        _again(picture_hz, 8, moves * upright, rng),
    )
    carriers: list[Transmitter] = [Carrier(frequency, Modulation.VIDEO, moves, bright)]
    if rng.uniform() < 0.4:
        carriers.append(Carrier(frequency, Modulation.DETAIL, 0.5, gain_db=rng.uniform(-14, -3), fades=True))
    if rng.uniform() < 0.3:
        sound_mhz, loss_db = rng.choice([6.0, 6.5]), rng.uniform(14, 28)
        carriers += [
            Carrier(frequency + side * sound_mhz, Modulation.TONE, 0.08, gain_db=-loss_db) for side in (-1, 1)
        ]
    return carriers


def _oven(rng: np.random.Generator, inverter: bool) -> list[Transmitter]:
    mains = rng.choice([50.0, 60.0]) * rng.uniform(0.996, 1.004)
    on_share = rng.uniform(0.7, 1.0) if inverter else rng.uniform(0.28, 0.53)
    middle = rng.uniform(0.3, 0.7)
    switched = rng.uniform(0.5, 0.8) if inverter and rng.uniform() < 0.4 else 1.0
    least = rng.uniform(0.1, 0.7) if inverter else 0.3
    shakes = rng.uniform(0.3, 3.0) if inverter and rng.uniform() < 0.5 else 0.0
    place, sweep = rng.normal(2457, 6), rng.uniform(2, 12)
    return [Oven(mains, rng.uniform(), place, sweep, on_share, inverter, middle, switched, least, shakes)]


def microwave(seconds: float, rng: np.random.Generator) -> list[Transmitter]:
    """An oven with a transformer."""
    return _oven(rng, inverter=False)


def inverter_microwave(seconds: float, rng: np.random.Generator) -> list[Transmitter]:
    """An oven with an inverter: nearly always on, with a ripple of twice the mains."""
    return _oven(rng, inverter=True)


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
