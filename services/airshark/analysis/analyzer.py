"""The whole way from the samples of one radio to the devices around it; runs in a thread of its own."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from services.airshark.analysis.air import Air, Timeline
from services.airshark.analysis.bands import MIN_VISIT_S
from services.airshark.analysis.broadband import find_jammer
from services.airshark.analysis.carrier_kinds import find_carrier_devices
from services.airshark.analysis.found import Device, Found
from services.airshark.analysis.lifecycle import Lifecycle, Track
from services.airshark.analysis.model import Model, load_model
from services.airshark.analysis.pulsed_kinds import HOPPERS, find_pulsed_devices
from services.airshark.analysis.ranks import runs
from services.airshark.analysis.scene import PULSES_BELOW_S, Observed, Scene, describe, observe, together
from services.airshark.domain.block import SampleBlock

FIRST_LOOK_S = 0.6
LOOK_EVERY_S = 1.0
LOOK_BACK_S = 2.0
LAST_LOOK_S = 0.08
"""At the end of a recording, so much that was not looked at yet is worth another look."""
MIN_SAMPLES = 8
SEVERAL = 2
"""Where so many other kinds are certain, one more is believed that is less likely."""
AS_STRONG_DB = 3.0
BAND_MHZ = (2390.0, 2500.0)
"""Where the devices that send bursts live; elsewhere only carriers and jammers are looked for."""
PULSED = (Device.BLUETOOTH, Device.BLE, Device.ZIGBEE, Device.FHSS_PHONE, Device.XBOX)


@dataclass
class _Kind:
    """Samples of one layout that wait for a look."""

    spacing_mhz: float
    """Of the bins, as the last look found it."""
    parts: list[Observed] = field(default_factory=list)
    held_s: float = 0.0
    new_s: float = 0.0
    looked: bool = False


class Analyzer:
    """Finds devices in the samples of one radio. Not safe for use from several threads at a time."""

    def __init__(self, model: Model | None = None) -> None:
        self.model = model or load_model()
        self._timeline = Timeline()
        self._kinds: dict[tuple[int, float], _Kind] = {}
        self._lifecycle = Lifecycle()
        self._samples = 0
        self._air_s = 0.0
        self._intervals: list[float] = []
        self._longest_visit_s = 0.0
        self._channels: Counter[float] = Counter()
        self.now_s = 0.0
        """Air time of the newest sample that was taken in."""

    def devices(self) -> list[Track]:
        """Returns the devices that are certain."""
        return self._lifecycle.confirmed()

    def feed(self, block: SampleBlock) -> list[Track]:
        """Takes samples in; returns the devices that came, changed or went."""
        air = self._timeline.air(block)
        if air is None:
            return []
        self._samples += len(air)
        self.now_s = float(air.time_s[-1])
        for centre, rows in air.channels.items():
            self._channels[centre] += len(rows)
        kind = self._kinds.setdefault((block.bin_count, air.spacing_mhz), _Kind(air.spacing_mhz))
        changed: list[Track] = []
        for part in _pieces(air):
            watched = part.watched_s
            kind.parts.append(observe(part))
            kind.held_s += watched
            kind.new_s += watched
            self._air_s += watched
            if kind.new_s >= (LOOK_EVERY_S if kind.looked else FIRST_LOOK_S):
                changed += self._look(kind)
        return changed

    def finish(self) -> list[Track]:
        """Looks at what is left at the end of a recording; returns the devices that came or changed."""
        changed = []
        for kind in self._kinds.values():
            if kind.new_s >= LAST_LOOK_S or (kind.new_s and not kind.looked):
                changed += self._look(kind)
        return changed + self._lifecycle.finish()

    def summary(self) -> dict[str, object]:
        """Returns what was read, and what could not be judged and why."""
        interval_s = float(np.median(self._intervals)) if self._intervals else 0.0
        return {
            "samples": self._samples,
            "air_time_s": round(self._air_s, 3),
            "interval_us": round(interval_s * 1e6, 1),
            "samples_per_s": round(self._samples / self._air_s, 1) if self._air_s else 0.0,
            "channels_mhz": sorted(self._channels),
            "bin_spacing_khz": sorted({round(each.spacing_mhz * 1e3, 2) for each in self._kinds.values()}),
            "devices": len(self.devices()),
            "not_judged": self.not_judged(),
            "model_version": self.model.version,
        }

    def not_judged(self) -> list[dict[str, str]]:
        """Returns the kinds of devices that these samples cannot show, with the reason."""
        interval_s = float(np.median(self._intervals)) if self._intervals else 0.0
        missing: list[dict[str, str]] = []

        def add(device: Device, reason: str) -> None:
            missing.append({"device": device.value, "reason": reason})

        in_band = any(BAND_MHZ[0] < channel < BAND_MHZ[1] for channel in self._channels)
        if not interval_s:
            found = {track.device for track in self.devices()}
            return [
                {"device": each.value, "reason": "too few samples"} for each in Device if each not in found
            ]
        for device in PULSED:
            if not in_band:
                add(device, "the radio did not look at the 2.4 GHz band")
            elif interval_s >= PULSES_BELOW_S:
                add(
                    device,
                    f"one sample each {interval_s * 1e6:.0f} us is too slow; set spectral_period to 18",
                )
        if not in_band:
            add(Device.MICROWAVE, "the radio did not look at the 2.4 GHz band")
        elif self._longest_visit_s < MIN_VISIT_S:
            add(Device.MICROWAVE, "no channel was watched for two cycles of the mains in a row")
        return missing

    def _look(self, kind: _Kind) -> list[Track]:
        observed = together(kind.parts)
        air = observed.air
        # The oldest parts go when there is more than is looked back to.
        while len(kind.parts) > 1 and kind.held_s - kind.parts[0].air.watched_s >= LOOK_BACK_S - LOOK_EVERY_S:
            kind.held_s -= kind.parts.pop(0).air.watched_s
        kind.new_s, kind.looked = 0.0, True
        if len(air) < MIN_SAMPLES:
            return []
        self._intervals = [*self._intervals[-30:], air.interval_s]
        scene = describe(observed, kind.spacing_mhz)
        changed: list[Track] = []
        if scene.air.spacing_mhz != kind.spacing_mhz:
            # What was found so far was measured on a wrong axis.
            changed = self._lifecycle.withdraw()
        kind.spacing_mhz = scene.air.spacing_mhz
        self._longest_visit_s = max(self._longest_visit_s, scene.mains["longest_look_s"])
        return changed + self._lifecycle.update(decide(scene, self.model), float(air.time_s[-1]))


def decide(scene: Scene, model: Model) -> list[Found]:
    """Returns the devices that one look finds."""
    jammers = find_jammer(scene)
    carriers = find_carrier_devices(scene, model)
    if not any(each.device is Device.ANALOG_VIDEO for each in carriers):
        carriers += scene.hidden_pictures
    # The border of a jammer, seen from the next channel, is broad and steady as a picture is.
    found = jammers + [each for each in carriers if not (jammers and each.device is Device.ANALOG_VIDEO)]
    if any(BAND_MHZ[0] < each < BAND_MHZ[1] for each in scene.air.channels):
        found += find_pulsed_devices(scene, model)
    return [each for each in found if not each.doubtful or _is_believed(each, found)]


def _is_believed(doubtful: Found, found: list[Found]) -> bool:
    """Tells whether what is less likely than usual is believed beside all else that a look found."""
    return _among_several(doubtful, found) and not _may_be_another(doubtful, found)


def _among_several(doubtful: Found, found: list[Found]) -> bool:
    """Tells whether several devices of other kinds are certain."""
    others = {each.device for each in found if each.certain and each.device is not doubtful.device}
    return len(others) >= SEVERAL


def _may_be_another(doubtful: Found, found: list[Found]) -> bool:
    """Tells whether what hops is as strong as a likelier hopper, and may be some of its bursts."""
    return doubtful.device in HOPPERS and any(
        each.device in HOPPERS
        and each.device is not doubtful.device
        and each.confidence > doubtful.confidence
        and abs(each.rssi_dbm - doubtful.rssi_dbm) < AS_STRONG_DB
        for each in found
    )


def _pieces(air: Air) -> list[Air]:
    """Cuts long blocks, so that looks come at the same times whatever the size of the blocks."""
    span_s = float(air.time_s[-1] - air.time_s[0])
    count = max(1, round(span_s / (LOOK_EVERY_S / 10)))
    marks = np.floor((air.time_s - air.time_s[0]) * (count / (span_s + 1e-6)))
    return [
        air.select(slice(start, start + length))
        for start, length in zip(*(each.tolist() for each in runs(marks)), strict=True)
    ]
