"""Follows devices from look to look: when they came, whether they are still there, how much they hurt
Wi-Fi."""

from dataclasses import dataclass, field, replace

import numpy as np

from services.airshark.analysis.found import SAME_CARRIER_MHZ, Device, Found

INACTIVE_AFTER_S = 10.0
FORGOTTEN_AFTER_S = 300.0
LOOKS_TOGETHER_S = 6.0
"""Two looks within this time make a device certain that one look alone does not."""
FEW_LOOKS, LIKELY = 2, 0.75
MAX_TRACKS = 200
SMOOTHING = 0.4
WIFI_WIDTH_MHZ = 20.0
CARRIERS = frozenset((Device.ANALOG_PHONE, Device.ANALOG_AUDIO, Device.ANALOG_VIDEO, Device.CW))
"""A carrier stays the same device when a look takes it for another of these kinds: most looks decide."""
OLD_LOOKS_COUNT = 0.9
LEAST_LOOK_S = 0.1
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
    withdrawn: bool = False
    """Whether it turned out to be nothing, or part of something else."""
    looks: int = 1
    last_look: int = 0
    """Number of the look that showed it last."""
    features: dict[str, float] = field(default_factory=dict)
    votes: dict[Device, float] = field(default_factory=dict)
    """Confidence times seconds of all looks, by kind; old ones count less."""

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
        taken: set[int] = set()
        parts: list[Track] = []
        # Of these kinds the look found two: each is a device of its own.
        two = {each.device for each in found if each.another}

        def order(one: Found) -> tuple[float, float]:
            return (self._off_db(one) if one.device in two else 0.0, -one.confidence)

        for each in sorted(found, key=order):
            track = self._match(each, taken if each.device in two else set())
            if track is None:
                track = self._begin(each)
            else:
                self._continue(track, each)
            track.last_look = self._looks
            taken.add(track.id)
            parts += self._parts_of(each, track)
            if track.confirmed:
                changed.append(track)
        changed += self._drop([each for each in parts if each.id not in taken])
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
        """Confirms, at the end of a recording with few looks, what the last one found; returns those devices.

        What only the one before it found, which saw less, must be likely.
        """
        if self._looks > FEW_LOOKS:
            return []
        late = [
            track
            for track in self._tracks
            if not track.confirmed and (track.last_look == self._looks or track.confidence > LIKELY)
        ]
        for track in late:
            track.confirmed = True
        return late

    def withdraw(self) -> list[Track]:
        """Forgets everything; returns the devices that were certain, as ones that went."""
        return self._drop(self._tracks)

    def _off_db(self, found: Found) -> float:
        """Returns how much stronger or weaker it is than the one of its kind that is most like it."""
        levels = [track.rssi_dbm for track in self._tracks if track.device is found.device]
        return min((abs(each - found.rssi_dbm) for each in levels), default=0.0)

    def _match(self, found: Found, taken: set[int]) -> Track | None:
        near = [
            track
            for track in self._tracks
            if track.id not in taken
            and (track.device is found.device or _may_be_one(track.device, found))
            and _distance_mhz(track, found) <= max(track.tolerance_mhz, found.tolerance_mhz)
        ]
        # What hops lies at the same place as all of its kind: the level tells which one it is.
        return min(
            near,
            key=lambda track: (_distance_mhz(track, found), abs(track.rssi_dbm - found.rssi_dbm)),
            default=None,
        )

    def _parts_of(self, found: Found, track: Track) -> list[Track]:
        """Returns what was taken for another device while this one was not known to have two carriers."""
        if "second_mhz" not in found.features:
            return []
        return [
            other
            for other in self._tracks
            if other is not track
            and other.device in CARRIERS
            and _distance_mhz(other, found) < SAME_CARRIER_MHZ
        ]

    def _drop(self, parts: list[Track]) -> list[Track]:
        """Forgets these devices; returns those that were certain, as ones that went."""
        self._tracks = [track for track in self._tracks if all(track is not each for each in parts)]
        for each in parts:
            each.active, each.withdrawn = False, True
        return [each for each in parts if each.confirmed]

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
            votes={found.device: _vote(found)},
        )
        self._next += 1
        self._tracks.append(track)
        return track

    def _continue(self, track: Track, found: Found) -> None:
        found = _same_first(found, track)
        for kind in track.votes:
            track.votes[kind] *= OLD_LOOKS_COUNT
        track.votes[found.device] = track.votes.get(found.device, 0.0) + _vote(found)
        track.last_seen_s = max(track.last_seen_s, found.last_s)
        track.first_seen_s = min(track.first_seen_s, found.first_s)
        track.looks += 1
        track.active = True
        track.confirmed = True
        winner = max(track.votes, key=lambda kind: track.votes[kind])
        if winner is not track.device and winner is found.device:
            # What was measured under the other name does not describe it.
            track.device, track.tolerance_mhz = winner, found.tolerance_mhz
            for name in _MEASURED:
                setattr(track, name, getattr(found, name))
        elif found.device is track.device:
            for name in _MEASURED:
                old, new = getattr(track, name), getattr(found, name)
                setattr(track, name, old + SMOOTHING * (new - old))
        else:
            return
        track.features = found.features


def _may_be_one(device: Device, found: Found) -> bool:
    """Tells whether what is found may have been taken for another kind of device."""
    return {device, found.device} <= CARRIERS and not found.beneath


def _vote(found: Found) -> float:
    """Returns what a look says for a kind: the more, the longer the device was looked at."""
    return found.confidence * max(found.last_s - found.first_s, LEAST_LOOK_S)


_MEASURED = ("center_mhz", "bandwidth_mhz", "rssi_dbm", "duty_cycle", "confidence")


def _centers_mhz(one: Track | Found) -> tuple[float, float]:
    """Returns the frequencies of a device: of a phone two, of others twice the same."""
    return one.center_mhz, one.features.get("second_mhz", one.center_mhz)


def _same_first(found: Found, track: Track) -> Found:
    """Returns what was found, with that of its carriers first which was first so far: of a phone, either may
    be the stronger one in a look."""
    first_mhz, second_mhz = _centers_mhz(found)
    if abs(first_mhz - track.center_mhz) <= abs(second_mhz - track.center_mhz):
        return found
    return replace(found, center_mhz=second_mhz, features=found.features | {"second_mhz": first_mhz})


def _distance_mhz(track: Track, found: Found) -> float:
    """Returns how far apart they are; a phone has two frequencies, and either may be the stronger one."""
    return min(abs(one - other) for one in _centers_mhz(track) for other in _centers_mhz(found))
