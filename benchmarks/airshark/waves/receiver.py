"""The radio of the third model: it adds, filters, transforms and quantises waveforms, and writes records."""

from dataclasses import dataclass

import numpy as np

from benchmarks.airshark.scenes import WITHIN_VIEW_MHZ, Truth
from benchmarks.airshark.waves.devices import MACHINES, Machine
from benchmarks.airshark.waves.signals import Bools, Numbers, Rows, Wave, Waves, dsss, noise, ofdm
from services.airshark.simulator.scenario import DeviceSpec, Scenario, WifiSpec

BINS, POINTS = 56, 128
"""Twice as many points as the radio's transform has, so that nothing folds back into the view."""
REACH_MHZ = 17.0
THERMAL_DBM = -95.0
ROWS_AT_ONCE = 2500


@dataclass(frozen=True)
class _Network:
    """Frames of one Wi-Fi channel."""

    spec: WifiSpec
    begin_s: Numbers
    end_s: Numbers
    level_dbm: Numbers
    chips: Bools
    heard: Bools
    """Which frames the radio receives, and gives no samples of."""
    wave: Wave

    def frame(self, time_s: Numbers) -> tuple[Bools, Rows]:
        """Returns whether there is one at these times, and which."""
        at = np.maximum(np.searchsorted(self.begin_s, time_s, side="right") - 1, 0)
        return (time_s >= self.begin_s[at]) & (time_s < self.end_s[at]), at


def render(scenario: Scenario) -> tuple[list[bytes], list[Truth]]:
    """Returns the records of a scenario as this model sees it, and where its devices stay."""
    rng = np.random.default_rng([scenario.seed, 0xC])
    machines = [(spec, MACHINES[spec.device](scenario.seconds + 0.2, rng)) for spec in scenario.devices]
    networks = [_network(scenario.seconds, spec, rng) for spec in scenario.wifi]
    time_s, channel = _looks(scenario, rng)
    for each in networks:
        on, which = each.frame(time_s)
        hidden = on & each.heard[which] & (np.abs(channel - each.spec.centre_mhz) < 2)
        time_s, channel = time_s[~hidden], channel[~hidden]
    card = _Card(scenario, rng)
    parts = [
        card.records(time_s[at : at + ROWS_AT_ONCE], channel[at : at + ROWS_AT_ONCE], machines, networks)
        for at in range(0, len(time_s), ROWS_AT_ONCE)
    ]
    truths = []
    for spec, machine in machines:
        states = [part.state(time_s) for part in machine.parts]
        on = np.max([each[0] for each in states], axis=0)
        sends, frequency, _ = states[0]
        seen = int(((sends > 0) & (np.abs(frequency - channel) < WITHIN_VIEW_MHZ)).sum())
        gains = tuple(float(np.median(gain[sent > 0])) for sent, _, gain in states if sent.any())
        truths.append(Truth(spec.device, spec.level_dbm, seen, machine.places_mhz, float(on.mean()), gains))
    return parts, truths


def _looks(scenario: Scenario, rng: np.random.Generator) -> tuple[Numbers, Numbers]:
    plan = scenario.plan
    every_s = (plan.period + 1) * 256 / 44e6 + 3.4e-6
    pieces, now, turn = [], rng.uniform(0, 1e-3), 0
    while now < scenario.seconds:
        stay_s = plan.dwell_s if len(plan.channels_mhz) > 1 else scenario.seconds
        count = plan.samples_per_visit or max(int(stay_s / every_s), 1)
        at = now + every_s * np.arange(count)
        pieces.append(np.stack((at, np.full(count, float(plan.channels_mhz[turn % len(plan.channels_mhz)])))))
        now, turn = at[-1] + every_s + rng.uniform(0.01, 0.02), turn + 1
    table = np.concatenate(pieces, axis=1)
    return table[0][table[0] < scenario.seconds], table[1][table[0] < scenario.seconds]


def _network(length_s: float, spec: WifiSpec, rng: np.random.Generator) -> _Network:
    old = rng.uniform() < 0.3
    rows: list[tuple[float, float, float, bool]] = []
    now, beacon = rng.uniform(0, 3e-3), rng.uniform(0, 0.1)
    while now < length_s:
        if now > beacon:
            long = rng.uniform(0.9e-3, 2.2e-3) if old else rng.uniform(0.2e-3, 0.45e-3)
            rows.append((now, long, spec.level_dbm, old))
            now, beacon = now + long + 1e-4, beacon + 0.1024
            continue
        station = spec.level_dbm + float(rng.choice([0.0, -5.0, -9.0]))
        chips = bool(old and rng.uniform() < 0.5)
        long = float(np.exp(rng.uniform(np.log(60e-6), np.log(5e-3 if not chips else 3e-3))))
        rows.append((now, long, station, chips))
        rows.append((now + long + 16e-6, 44e-6, spec.level_dbm, chips))
        now += (
            long
            + 60e-6
            + 34e-6
            + 9e-6 * int(rng.integers(16))
            + rng.exponential((long + 60e-6) * max(1 / spec.load - 1.05, 0.01))
        )
    table = np.array(rows, float)
    carriers = 114 if spec.width_mhz > 30 else int(rng.choice([52, 56]))
    return _Network(
        spec, table[:, 0], table[:, 0] + table[:, 1], table[:, 2], table[:, 3] > 0,
        rng.uniform(size=len(table)) < spec.decoded, ofdm(carriers),
    )  # fmt: skip


class _Card:
    """One radio with its own window, filter, errors and gain."""

    def __init__(self, scenario: Scenario, rng: np.random.Generator) -> None:
        self._scenario = scenario
        self._rng = rng
        self._spacing_mhz = scenario.front.spacing_mhz
        self._at_us = np.arange(POINTS) / (POINTS * self._spacing_mhz)
        rise = float(rng.choice([0.0, 0.0, 0.15, 0.5]))
        edge = np.minimum(np.arange(POINTS) + 0.5, POINTS - 0.5 - np.arange(POINTS)) / POINTS
        window = np.where(edge < rise, 0.5 - 0.5 * np.cos(np.pi * edge / max(rise, 1e-9)), 1.0)
        self._window = (window / np.sqrt((window**2).sum() * POINTS)).astype(np.float32)
        self._image = 10 ** (rng.uniform(-45, -32) / 20) * np.exp(2j * np.pi * rng.uniform())
        self._dirt = 10 ** (rng.uniform(-46, -34) / 10)
        self._full = 2.0 ** rng.uniform(8, 11.5)
        self._rssi_off, self._rssi_sd = rng.uniform(-1.5, 1.5), rng.uniform(0.2, 1.0)
        self._floor_dbm = THERMAL_DBM + rng.uniform(-1, 1)

    def _seen(self, wave: Wave, time_s: Numbers, offset_mhz: Numbers) -> Waves:
        """Returns the bins of the view, power 1 in all of it if it is all in view."""
        made = wave(time_s, offset_mhz, self._at_us, self._rng) * self._window
        spectrum = np.fft.fftshift(np.fft.fft(made, axis=1), axes=1)
        middle = POINTS // 2
        return spectrum[:, middle - BINS // 2 : middle + BINS // 2].astype(np.complex64)

    def records(
        self,
        time_s: Numbers,
        channel: Numbers,
        machines: list[tuple[DeviceSpec, Machine]],
        networks: list[_Network],
    ) -> bytes:
        """Returns what the driver writes for looks at these times."""
        rng, count = self._rng, len(time_s)
        bins = np.zeros((count, BINS), np.complex64)

        def add(wave: Wave, rows: Rows, f: Numbers, level: Numbers) -> None:
            if len(rows):
                seen = self._seen(wave, time_s[rows], f[rows] - channel[rows])
                bins[rows] += seen * (10 ** (level[rows] / 20)).astype(np.float32)[:, None]

        for spec, machine in machines:
            for part in machine.parts:
                on, f, gain = part.state(time_s)
                off = np.abs(f - channel)
                # The filter before the converter keeps out what is far beside the view.
                level = spec.level_dbm + gain - np.clip(3 * (off - 10), 0, None)
                add(part.wave, np.flatnonzero((on > 0) & (off < REACH_MHZ)), f, level)
        for each in networks:
            there, which = each.frame(time_s)
            f = np.full(count, each.spec.centre_mhz)
            in_reach = there & (np.abs(f - channel) < 30)
            for chips, wave in ((True, dsss), (False, each.wave)):
                add(wave, np.flatnonzero(in_reach & (each.chips[which] == chips)), f, each.level_dbm[which])
        for jammer in self._scenario.jammers:
            f = np.full(count, jammer.centre_mhz)
            near = np.flatnonzero(np.abs(f - channel) < 10 + jammer.width_mhz / 2)
            add(noise(min(jammer.width_mhz, 80.0)), near, f, np.full(count, jammer.level_dbm))
        bins += self._image * np.conj(bins[:, ::-1])
        per_bin = 10 ** (self._floor_dbm / 10) / BINS + self._dirt * (np.abs(bins) ** 2).mean(axis=1)
        thermal = rng.normal(size=(count, BINS, 2)) @ np.array([1, 1j])
        bins += (np.sqrt(per_bin / 2)[:, None] * thermal).astype(np.complex64)
        return self._driver(time_s, channel, bins)

    def _driver(self, time_s: Numbers, channel: Numbers, bins: Waves) -> bytes:
        rng, front, count = self._rng, self._scenario.front, len(time_s)
        total = (np.abs(bins) ** 2).sum(axis=1)
        # The gain control fills the converter to within a few dB.
        gain = self._full / np.sqrt(total / BINS) * 10 ** (rng.uniform(-2, 2, count) / 20) / 4
        scaled = bins * gain[:, None]
        magnitude = np.minimum(np.abs(np.trunc(scaled.real)) + np.abs(np.trunc(scaled.imag)), 4095).astype(
            int
        )
        magnitude[:, BINS // 2] = (magnitude[:, BINS // 2 - 1] + magnitude[:, BINS // 2 + 1]) // 2
        top = magnitude.max(axis=1)
        shift = np.maximum(np.ceil(np.log2((top + 1) / 256)), 0).astype(int)
        rssi = np.rint(
            10 * np.log10(total) - THERMAL_DBM + self._rssi_off + rng.normal(0, self._rssi_sd, count)
        )
        if front.rssi_stuck_db is not None:
            rssi[:] = front.rssi_stuck_db
        clock = (time_s * 1e6).astype(np.int64) + 123_456
        if front.tsf_restarts:
            turn = np.where(np.diff(channel, prepend=channel[0]) != 0, np.arange(count), 0)
            clock = clock - clock[np.maximum.accumulate(turn)] + 900
        lost = rng.uniform(size=count) < front.lost_share
        corrupt = rng.uniform(size=count) < front.corrupt_share
        pieces = []
        for n in np.flatnonzero(~lost):
            data = (magnitude[n] >> shift[n]).astype(np.uint8)
            strong = min(int((data > data.max() // 2).sum()), 63)
            pieces.append(
                b"\x01\x00\x49"
                + bytes([14 if corrupt[n] else int(shift[n])])
                + int(channel[n]).to_bytes(2)
                + int(np.clip(rssi[n], -40, 111)).to_bytes(1, signed=True)
                + int(front.noise_field_dbm).to_bytes(1, signed=True)
                + int(top[n]).to_bytes(2)
                + bytes([int(data.argmax()), strong])
                + int(clock[n]).to_bytes(8)
                + data.tobytes()
            )
        return b"".join(pieces)
