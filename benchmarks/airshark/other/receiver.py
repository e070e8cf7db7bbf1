"""The second model's radio: power per bin, fluctuation, and the driver's bytes; and its Wi-Fi."""

import struct
from dataclasses import dataclass

import numpy as np

from benchmarks.airshark.other.emitters import EMITTERS, Emitter, Numbers, Signal
from benchmarks.airshark.scenes import WITHIN_VIEW_MHZ, Truth
from services.airshark.simulator.scenario import DeviceSpec, Scenario, WifiSpec

COUNT = 56
HEADER = struct.Struct(">BHBHbbHBBQ")


@dataclass(frozen=True)
class _Card:
    """What differs between cards here."""

    spacing_mhz: float
    near_db: float
    """What a narrow carrier loses per bin beside it, up to `far_db`."""
    far_db: float
    rssi_sd_db: float
    gain: float


@dataclass(frozen=True)
class _Traffic:
    """Frames of one network, in order."""

    begin_s: Numbers
    end_s: Numbers
    dsss: Numbers
    level_dbm: Numbers
    spec: WifiSpec


def render(scenario: Scenario) -> tuple[list[bytes], list[Truth]]:
    """Returns the records of a scenario as this model sees it, and where its devices stay.

    Of the scenario's front end the faults and the spacing count; the rest is drawn here.
    """
    rng = np.random.default_rng([scenario.seed, 0xB])
    emitters = [(spec, EMITTERS[spec.device](scenario.seconds + 0.1, rng)) for spec in scenario.devices]
    traffic = [_network(scenario.seconds, spec, rng) for spec in scenario.wifi]
    card = _Card(
        scenario.front.spacing_mhz, rng.uniform(6, 12), rng.uniform(28, 40), rng.uniform(0.3, 2),
        10 ** rng.uniform(2.4, 3.2),
    )  # fmt: skip
    time_s, channel = _moments(scenario, rng)
    for each in traffic:
        index = np.searchsorted(each.begin_s, time_s, side="right") - 1
        inside = (index >= 0) & (time_s < each.end_s[np.maximum(index, 0)])
        decoded = np.random.default_rng(scenario.seed).uniform(size=len(each.begin_s)) < each.spec.decoded
        hidden = inside & decoded[np.maximum(index, 0)] & (np.abs(channel - each.spec.centre_mhz) < 3)
        time_s, channel = time_s[~hidden], channel[~hidden]
    parts = []
    for at in range(0, len(time_s), 3000):
        piece = slice(at, at + 3000)
        parts.append(_driver(scenario, card, time_s[piece], channel[piece], emitters, traffic, rng))
    truths = []
    for spec, emitter in emitters:
        on = np.max([_state(signal, time_s, rng)[0] for signal in emitter.signals], axis=0)
        sends, frequency, _ = _state(emitter.signals[0], time_s, rng)
        seen = int(((sends > 0) & (np.abs(frequency - channel) < WITHIN_VIEW_MHZ)).sum())
        gains = tuple(float(np.median(each.bursts[3])) for each in emitter.signals if each.bursts.size)
        truths.append(
            Truth(spec.device, spec.level_dbm, seen, tuple(emitter.places_mhz), float(on.mean()), gains)
        )
    return parts, truths


def _moments(scenario: Scenario, rng: np.random.Generator) -> tuple[Numbers, Numbers]:
    plan = scenario.plan
    step = (plan.period + 1) * 256 / 44e6 + 4e-6
    times, channels = [], []
    now, turn = 0.0, int(rng.integers(len(plan.channels_mhz)))
    while now < scenario.seconds:
        stay = plan.dwell_s if len(plan.channels_mhz) > 1 else scenario.seconds
        count = int(stay / step)
        times.append(now + step * np.arange(count) + rng.uniform(-1e-6, 1e-6, count))
        channels.append(np.full(count, float(plan.channels_mhz[turn % len(plan.channels_mhz)])))
        now += stay + rng.uniform(0.010, 0.020)
        turn += 1
    time_s, channel = np.concatenate(times), np.concatenate(channels)
    return time_s[time_s < scenario.seconds], channel[time_s < scenario.seconds]


def _network(length_s: float, spec: WifiSpec, rng: np.random.Generator) -> _Traffic:
    """Beacons of 1 Mb/s or OFDM, and bursts of frames with acknowledgements; by chance b/g mixed."""
    rows = []
    legacy = rng.uniform() < 0.25
    typical = float(rng.choice([0.25e-3, 0.6e-3, 1.5e-3, 4e-3]))
    at, beacon = rng.uniform(0, 5e-3), rng.uniform(0, 0.1024)
    while at < length_s:
        if at >= beacon:
            long = rng.uniform(1e-3, 2.6e-3) if legacy or rng.uniform() < 0.5 else 4e-4
            rows.append((at, at + long, float(long > 9e-4), spec.level_dbm))
            at, beacon = at + long + 50e-6, beacon + 0.1024
            continue
        long = float(np.clip(typical * rng.lognormal(0, 0.5), 40e-6, 5.4e-3))
        level = spec.level_dbm - float(rng.choice([0, 0, 6, 12]))
        dsss = float(legacy and rng.uniform() < 0.7)
        rows += [
            (at, at + long, dsss, level),
            (at + long + 16e-6, at + long + 56e-6, dsss, spec.level_dbm - 4),
        ]
        idle = rng.exponential((long + 56e-6) * (1 - spec.load) / spec.load)
        at = min(at + long + 56e-6 + 28e-6 + idle, max(beacon, at + long + 90e-6))
    table = np.array(rows)
    return _Traffic(table[:, 0], table[:, 1], table[:, 2], table[:, 3], spec)


def _density(shape: str, width_mhz: float, off_mhz: Numbers) -> Numbers:
    """Returns the power per MHz of a signal of power 1, at these distances from its centre."""
    if shape == "flat":
        return np.where(np.abs(off_mhz) < width_mhz / 2, 1 / width_mhz, 0)
    if shape == "msk":
        x = off_mhz / (width_mhz / 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = (np.cos(np.pi * x) / (1 - 4 * x**2)) ** 2
        return np.where(np.abs(np.abs(x) - 0.5) < 1e-3, (np.pi / 4) ** 2, value) * 0.8
    sigma = max(width_mhz, 0.02) / 2.355
    return np.exp(-0.5 * (off_mhz / sigma) ** 2) / (sigma * 2.5066)


def _bins(shape: str, width_mhz: float, off_mhz: Numbers, card: _Card) -> Numbers:
    """Returns the power in each bin: the density, seen through the window of the transform."""
    # Narrow ones are finer than bins: five points in each bin.
    fine = (np.arange(5) - 2) / 5 * card.spacing_mhz
    sigma = max(width_mhz / 2.355, card.spacing_mhz / 2.5) if shape == "bell" else 0.0
    if shape == "bell":
        power = np.exp(-0.5 * (off_mhz / sigma) ** 2) * card.spacing_mhz / (sigma * 2.5066)
    else:
        power = _density(shape, width_mhz, off_mhz[..., None] + fine).mean(axis=-1) * card.spacing_mhz
    away = np.maximum(np.abs(off_mhz) - width_mhz / 2, 0) / card.spacing_mhz
    skirt = 10 ** (-np.minimum(6 + card.near_db * np.sqrt(away), card.far_db) / 10)
    # Beyond the channel filter everything fades.
    return np.maximum(power, skirt * 0.3)


def _driver(
    scenario: Scenario,
    card: _Card,
    time_s: Numbers,
    channel: Numbers,
    emitters: list[tuple[DeviceSpec, Emitter]],
    traffic: list[_Traffic],
    rng: np.random.Generator,
) -> bytes:
    axis = channel[:, None] + (np.arange(COUNT) - 28) * card.spacing_mhz
    noise = np.full((len(time_s), COUNT), 10 ** (-9.5) / 58.0)
    for each in traffic:
        noise += _frames(each, time_s, axis, card)
    for jammer in scenario.jammers:
        noise += (
            10 ** (jammer.level_dbm / 10)
            * card.spacing_mhz
            * _density("flat", jammer.width_mhz, axis - jammer.centre_mhz)
        )
    steady = np.zeros(axis.shape, complex)
    for spec, emitter in emitters:
        for signal in emitter.signals:
            on, f, gain = _state(signal, time_s, rng)
            rows = np.flatnonzero((on > 0) & (np.abs(f - channel) < 25))
            if not len(rows):
                continue
            beyond = np.maximum(np.abs(f[rows] - channel[rows]) - 10.5, 0)
            level = spec.level_dbm + gain[rows] - 5 * beyond
            power = 10 ** (level[:, None] / 10) * _bins(
                signal.shape, signal.width_mhz, axis[rows] - f[rows, None], card
            )
            if signal.fluctuates:
                noise[rows] += power
            else:
                # One tone in the window: its phase turns by half from each bin to the next.
                phase = rng.uniform(size=(len(rows), 1)) + 0.5 * np.arange(COUNT)
                steady[rows] += np.sqrt(power) * np.exp(2j * np.pi * phase)
    value = steady + np.sqrt(noise / 2) * (rng.normal(size=axis.shape) + 1j * rng.normal(size=axis.shape))
    total = (np.abs(value) ** 2).sum(axis=1)
    magnitude = np.abs(value.real) + np.abs(value.imag)
    magnitude *= (card.gain / np.sqrt(total))[:, None]
    raw = np.minimum(magnitude, 4095).astype(int)
    top = raw.max(axis=1)
    shift = np.maximum(np.frexp(top.astype(float))[1] - 8, 0)
    data = raw >> shift[:, None]
    data[:, 28] = (data[:, 27] + data[:, 29]) // 2
    rssi = np.rint(10 * np.log10(total) + 95 + rng.normal(0, card.rssi_sd_db, len(total)))
    if scenario.front.rssi_stuck_db is not None:
        rssi[:] = scenario.front.rssi_stuck_db
    rssi = np.clip(rssi, -30, 111).astype(int)
    clock = (time_s * 1e6).astype(int)
    if scenario.front.tsf_restarts:
        turn = np.maximum.accumulate(
            np.where(np.diff(channel, prepend=channel[0]) != 0, np.arange(len(channel)), 0)
        )
        clock = clock - clock[turn] + 500
    lost = rng.uniform(size=len(total)) < scenario.front.lost_share
    return b"".join(
        HEADER.pack(
            1, 73, shift[n], int(channel[n]), rssi[n], scenario.front.noise_field_dbm, top[n],
            int(data[n].argmax()), min(int((data[n] > data[n].max() // 2).sum()), 63), int(clock[n]),
        )
        + bytes(data[n].tolist())
        for n in range(len(total))
        if not lost[n]
    )  # fmt: skip


def _state(signal: Signal, time_s: Numbers, rng: np.random.Generator) -> tuple[Numbers, Numbers, Numbers]:
    if signal.course is not None:
        return signal.course(time_s, rng)
    bursts = signal.bursts
    if not bursts.shape[1]:
        # In so short a time it may happen to send nothing.
        nothing = np.zeros(len(time_s))
        return nothing, nothing, nothing
    which = np.maximum(np.searchsorted(bursts[0], time_s, side="right") - 1, 0)
    on = (time_s >= bursts[0, which]) & (time_s < bursts[1, which])
    return on.astype(float), bursts[2, which], bursts[3, which]


def _frames(each: _Traffic, time_s: Numbers, axis: Numbers, card: _Card) -> Numbers:
    which = np.maximum(np.searchsorted(each.begin_s, time_s, side="right") - 1, 0)
    on = (time_s >= each.begin_s[which]) & (time_s < each.end_s[which])
    off = np.abs(axis - each.spec.centre_mhz)
    edge = each.spec.width_mhz * 0.445
    fall = np.where(off > edge, np.clip(3 + 9 * (off - edge), 0, 22 + (off - edge)), 0.0)
    ofdm = 10 ** (-fall / 10) / (2 * edge)
    dsss = np.maximum(np.sinc(off / 11) ** 2, 10**-3.5) / 11
    shape = np.where(each.dsss[which][:, None] > 0, dsss, ofdm)
    level = np.where(on, 10 ** (each.level_dbm[which] / 10), 0)
    result: Numbers = level[:, None] * shape * card.spacing_mhz
    return result
