"""Follows devices from look to look: when they came, whether they are still there, how much they hurt
Wi-Fi."""

from dataclasses import dataclass, field

import numpy as np

from services.airshark.analysis.found import Device, Found

INACTIVE_AFTER_S = 10.0
FORGOTTEN_AFTER_S = 300.0
LOOKS_TOGETHER_S = 6.0
"""Two looks within this time make a device certain that one look alone does not."""
FEW_LOOKS = 2
MAX_TRACKS = 200
SMOOTHING = 0.4
WIFI_WIDTH_MHZ = 20.0
QUIET_DBM, LOUD_DBM = -95.0, -45.0


@dataclass
class Track:
    """One device over time."""

    id: int
    device: Device
    confidence: float
    center_mhz: float
    bandwidth_mhz: float
    rssi_dbm: float
    duty_cycle: float
    first_seen_s: float
    last_seen_s: float
    tolerance_mhz: float
    confirmed: bool
    active: bool = True
    looks: int = 1
    features: dict[str, float] = field(default_factory=dict)

    @property
    def severity(self) -> int:
        """How much it hurts a Wi-Fi network in its range, 0 to 100: by its level and the airtime that it
        takes.

        The airtime is that of the Wi-Fi channel that it hits most; what hops hits each channel for its share.
        """
        level = float(np.clip((self.rssi_dbm - QUIET_DBM) / (LOUD_DBM - QUIET_DBM), 0, 1))
        share = min(1.0, WIFI_WIDTH_MHZ / self.bandwidth_mhz) if self.hops else 1.0
        return round(100 * level * float(min(self.duty_cycle * share, 1.0) ** 0.6))

    @property
    def hops(self) -> bool:
        """Whether it moves over the whole band."""
        return self.device in (Device.BLUETOOTH, Device.FHSS_PHONE, Device.XBOX) or (
            self.device is Device.BLE and self.bandwidth_mhz > WIFI_WIDTH_MHZ
        )


class Lifecycle:
    """All devices of one radio."""

    def __init__(self) -> None:
        self._tracks: list[Track] = []
        self._next = 1
        self._looks = 0

    def confirmed(self) -> list[Track]:
        """Returns the devices that are certain, in the order in which they came."""
        return [track for track in self._tracks if track.confirmed]

    def update(self, found: list[Found], now_s: float) -> list[Track]:
        """Takes in what one look found; returns the confirmed devices that came, changed or went."""
        self._looks += 1
        changed = []
        for each in sorted(found, key=lambda one: -one.confidence):
            track = self._match(each)
            if track is None:
                track = self._begin(each)
            else:
                self._continue(track, each)
            if track.confirmed:
                changed.append(track)
        for track in self._tracks:
            if track.active and now_s - track.last_seen_s > INACTIVE_AFTER_S:
                track.active = False
                if track.confirmed:
                    changed.append(track)
        self._tracks = [
            track
            for track in self._tracks
            if now_s - track.last_seen_s < (FORGOTTEN_AFTER_S if track.confirmed else LOOKS_TOGETHER_S)
        ][-MAX_TRACKS:]
        return changed

    def finish(self) -> list[Track]:
        """Confirms, at the end of a recording with few looks, what one look found; returns those devices."""
        if self._looks > FEW_LOOKS:
            return []
        late = [track for track in self._tracks if not track.confirmed]
        for track in late:
            track.confirmed = True
        return late

    def _match(self, found: Found) -> Track | None:
        near = [
            track
            for track in self._tracks
            if track.device is found.device
            and abs(track.center_mhz - found.center_mhz) <= max(track.tolerance_mhz, found.tolerance_mhz)
        ]
        return min(near, key=lambda track: abs(track.center_mhz - found.center_mhz), default=None)

    def _begin(self, found: Found) -> Track:
        track = Track(
            id=self._next,
            device=found.device,
            confidence=found.confidence,
            center_mhz=found.center_mhz,
            bandwidth_mhz=found.bandwidth_mhz,
            rssi_dbm=found.rssi_dbm,
            duty_cycle=found.duty_cycle,
            first_seen_s=found.first_s,
            last_seen_s=found.last_s,
            tolerance_mhz=found.tolerance_mhz,
            confirmed=found.certain,
            features=found.features,
        )
        self._next += 1
        self._tracks.append(track)
        return track

    def _continue(self, track: Track, found: Found) -> None:
        for name in ("center_mhz", "bandwidth_mhz", "rssi_dbm", "duty_cycle", "confidence"):
            old, new = getattr(track, name), getattr(found, name)
            setattr(track, name, old + SMOOTHING * (new - old))
        track.last_seen_s = max(track.last_seen_s, found.last_s)
        track.first_seen_s = min(track.first_seen_s, found.first_s)
        track.looks += 1
        track.active = True
        track.confirmed = True
        track.features = found.features
