"""Decides which devices are behind the pulses of a scene."""

from dataclasses import dataclass, replace

import numpy as np

from services.airshark.analysis.air import Bools
from services.airshark.analysis.connections import of_connection
from services.airshark.analysis.fixed import (
    BLE_ADVERTISING_MHZ,
    ZIGBEE_FIRST_MHZ,
    ZIGBEE_STEP_MHZ,
    FixedGroup,
)
from services.airshark.analysis.found import Device, Found
from services.airshark.analysis.hopping import BLUETOOTH_SLOT_S, by_power, describe_hops, keep_other_slots
from services.airshark.analysis.mains import is_oven
from services.airshark.analysis.model import Model, Trees
from services.airshark.analysis.pulses import Pulses
from services.airshark.analysis.rhythm import stretches
from services.airshark.analysis.scene import Scene

HOPPERS = (Device.BLUETOOTH, Device.BLE, Device.FHSS_PHONE, Device.XBOX)
BAND_MHZ = {
    Device.BLUETOOTH: (2441.0, 79.0),
    Device.BLE: (2441.0, 80.0),
    Device.FHSS_PHONE: (2440.0, 80.0),
    Device.XBOX: (2441.0, 79.0),
}
DURATION_MS = {
    Device.BLUETOOTH: (0.05, 3.3),
    Device.BLE: (0.05, 0.55),
    Device.FHSS_PHONE: (0.45, 0.95),
    Device.XBOX: (0.1, 0.75),
}
CERTAIN = 0.9
SLOTS_S = {Device.BLUETOOTH: BLUETOOTH_SLOT_S, Device.FHSS_PHONE: 5e-3}
"""What the starts of one network keep to, master and slave, base and handset alike."""
CONNECTION = 0.95
"""How sure pulses that take turns on even frequencies are a connection."""
OVEN_REACH_MHZ = 2.0
CLEAR_OVEN, BEYOND_DOUBT = 0.92, 0.97
LEAST_SWEEP_MHZ = 1.0
STAYS_MHZ = 1.6
"""An oven sweeps further."""
OF_CHANNEL_MHZ = 1.0
ALIKE_DB = 6.0
ON_GRID = 0.14
"""Share of a slot within which a start is on the grid."""


def find_pulsed_devices(scene: Scene, model: Model) -> list[Found]:
    """Returns the devices that send bursts."""
    found: list[Found] = []
    if scene.has_pulses:
        free = np.ones(len(scene.pulses), bool)
        for group in scene.fixed:
            kind, confidence, certain = _kind_of(group, model)
            if kind is None:
                continue
            found.append(_fixed(scene, group, kind, confidence, certain))
            if kind is Device.ZIGBEE:
                free &= ~group.members
        hoppers = _hoppers(scene, scene.pulses.select(free), model)
        found = [each for each in found if not _passed_by(each, hoppers)] + hoppers
    trees = model.decisions["microwave"]
    probability = trees.probability(scene.mains)
    if is_oven(scene.mains):
        probability = max(probability, CLEAR_OVEN)
    if probability >= trees.least and _may_be_oven(scene.mains):
        oven = _microwave(scene, probability, certain=_is_certain(probability, trees))
        if not any(_explains(each, scene.mains) for each in found):
            found = [each for each in found if not _is_part(each, oven, is_oven(scene.mains))]
            found.append(oven)
    return _one_ble(found)


def _explains(found: Found, mains: dict[str, float]) -> bool:
    """Tells whether what follows the mains, by chance, is a network that stays where no oven would."""
    near = abs(found.center_mhz - mains["middle_mhz"]) < OVEN_REACH_MHZ
    return found.device is Device.ZIGBEE and found.certain and near and mains["sweep_mhz"] < STAYS_MHZ


def _may_be_oven(mains: dict[str, float]) -> bool:
    """Tells whether what keeps to the mains, perhaps by chance, has long bursts and sweeps as ovens do."""
    return mains["burst_ms"] > 0 and (is_oven(mains) or mains["sweep_mhz"] > LEAST_SWEEP_MHZ)


def _is_part(found: Found, oven: Found, taken_away: bool) -> bool:
    """Tells whether a fixed frequency is where an oven dwells at the turning points of its sweep.

    Where the oven's own bursts are `taken_away`, what is certain all the same is something else.
    """
    near = abs(found.center_mhz - oven.center_mhz) < oven.bandwidth_mhz / 2 + OVEN_REACH_MHZ
    if found.device is Device.UNKNOWN:
        return near
    if found.confidence >= BEYOND_DOUBT or (taken_away and found.certain):
        return False
    return oven.certain and near and found.device is Device.ZIGBEE


def _is_certain(probability: float, trees: Trees) -> bool:
    return probability >= max(CERTAIN, trees.least)


def _kind_of(group: FixedGroup, model: Model) -> tuple[Device | None, float, bool]:
    for device, name in ((Device.ZIGBEE, "zigbee"), (Device.BLE, "ble_advertising")):
        trees = model.decisions[name]
        probability = trees.probability(group.features)
        if probability >= trees.least:
            return device, probability, _is_certain(probability, trees)
    features = group.features
    strange = (
        features["count"] >= 40
        and features["duty"] > 0.02
        and features["over_neighbours"] > 8
        and features["over_db"] > 16
        and features["power_scatter_db"] < 3
        and features["whole_share"] > 0.8
        and features["tiny_share"] < 0.3
        and features["scatter_mhz"] < 0.3
    )
    return (Device.UNKNOWN, 0.5, False) if strange else (None, 0.0, False)


def _fixed(scene: Scene, group: FixedGroup, kind: Device, confidence: float, certain: bool) -> Found:
    mine = scene.pulses.select(group.members)
    center = group.frequency_mhz
    if kind is Device.BLE:
        center = min(BLE_ADVERTISING_MHZ, key=lambda each: abs(each - center))
    if kind is Device.ZIGBEE and group.features["zigbee_off_mhz"] < OF_CHANNEL_MHZ:
        # At the border of a view its middle is not seen; its channels are known.
        step = round((center - ZIGBEE_FIRST_MHZ) / ZIGBEE_STEP_MHZ)
        center = ZIGBEE_FIRST_MHZ + ZIGBEE_STEP_MHZ * step
    return Found(
        device=kind,
        confidence=confidence,
        certain=certain,
        center_mhz=center,
        bandwidth_mhz=2.0 if kind is not Device.UNKNOWN else group.features["width_mhz"],
        rssi_dbm=float(np.median(mine.power_dbm)),
        duty_cycle=min(group.features["duty"], 1.0),
        first_s=float(mine.start_s.min()),
        last_s=float(mine.end_s.max()),
        tolerance_mhz=2.0,
        features=group.features,
    )


def _passed_by(found: Found, hoppers: list[Found]) -> bool:
    """Tells whether an advertiser may be a place where a hopper of its power came by often."""
    if found.device is not Device.BLE or found.confidence >= BEYOND_DOUBT:
        return False
    sure = [each for each in hoppers if each.certain and each.device is not Device.BLE]
    return any(abs(each.rssi_dbm - found.rssi_dbm) < ALIKE_DB for each in sure)


def _one_ble(found: list[Found]) -> list[Found]:
    """Keeps one detection of Bluetooth Low Energy: its three channels and its connections are not told
    apart."""
    ble = [each for each in found if each.device is Device.BLE]
    if len(ble) < 2:
        return found
    best = max(ble, key=lambda each: each.confidence)
    return [each for each in found if each.device is not Device.BLE or each is best]


@dataclass(frozen=True)
class _Answer:
    """That the pulses of one power may be a kind of hopper."""

    probability: float
    pulses: Pulses
    features: dict[str, float]
    leads: bool
    """Whether no other kind is likelier for these."""


def _hoppers(scene: Scene, pulses: Pulses, model: Model) -> list[Found]:
    """Looks at the pulses of each power for themselves; of each kind, the best answer counts, and another one
    that keeps to other slots."""
    answers: dict[Device, list[_Answer]] = {}
    for group in by_power(pulses):
        features = describe_hops(scene.air, group)
        chances = {each: model.decisions[each.value].probability(features) for each in HOPPERS}
        for device, chance in chances.items():
            mine = group.select(_likely(group, device))
            leads = chance == max(chances.values())
            if chance < model.decisions[device.value].least or not len(mine):
                continue
            if leads or device is not Device.BLE:
                answers.setdefault(device, []).append(_Answer(chance, mine, features, leads))
        connection = of_connection(scene.air, group)
        if connection.any():
            answer = _Answer(CONNECTION, group.select(connection), features, leads=True)
            answers.setdefault(Device.BLE, []).append(answer)
    found = []
    for device, given in answers.items():
        trees = model.decisions[device.value]
        best, *others = sorted(given, key=lambda each: -each.probability)
        # What is as strong all over the band is mostly one hopper: another one must be seen again.
        certain = _is_certain(best.probability, trees) and best.leads
        found.append(_hopper(scene, device, best, certain))
        for other in others:
            sure = certain and _is_certain(other.probability, trees)
            if sure and device in SLOTS_S and keep_other_slots(best.pulses, other.pulses, SLOTS_S[device]):
                found.append(replace(_hopper(scene, device, other, True), another=True))
                break
    return found


def _hopper(scene: Scene, device: Device, answer: _Answer, certain: bool) -> Found:
    center, band = BAND_MHZ[device]
    mine, features = answer.pulses, answer.features
    power = mine.power_dbm
    order = np.sort(power)
    inside = np.searchsorted(order, order + 6.0, side="right") - np.arange(len(order))
    at = int(inside.argmax())
    typical = order[at : at + int(inside[at])]
    own = mine.select((power >= typical[0] - 3) & (power <= typical[-1] + 3))
    view_mhz = scene.air.dbm.shape[1] * scene.air.spacing_mhz
    in_view = own.duration_s.sum() / max(len(scene.air) * scene.air.interval_s, 1e-3)
    return Found(
        device=device,
        confidence=answer.probability,
        certain=certain,
        center_mhz=center,
        bandwidth_mhz=band,
        rssi_dbm=float(np.median(typical)),
        duty_cycle=float(min(in_view * band / min(view_mhz, band), 1.0)),
        first_s=float(own.start_s.min()),
        last_s=float(own.end_s.max()),
        tolerance_mhz=100.0,
        features={key: value for key, value in features.items() if not key.startswith("per_s_to")},
    )


def _likely(pulses: Pulses, device: Device) -> Bools:
    """Returns which pulses may be its own: by their length, and for Bluetooth by its slots."""
    low, high = DURATION_MS[device]
    duration = pulses.duration_s * 1e3
    fits = (duration >= low) & (duration <= high)
    if device is Device.BLUETOOTH and fits.any():
        stretch = stretches(pulses.start_s, pulses.visit)
        phase = np.exp(2j * np.pi * pulses.start_s / BLUETOOTH_SLOT_S)
        sums = np.zeros(int(stretch.max()) + 1, np.complex128)
        np.add.at(sums, stretch[fits], phase[fits])
        off = np.abs(np.angle(phase * np.conj(sums[stretch]))) / (2 * np.pi)
        on_grid = fits & (off < ON_GRID)
        return on_grid if on_grid.any() else fits
    return fits


def _microwave(scene: Scene, probability: float, certain: bool) -> Found:
    mains = scene.mains
    rows = scene.air.time_s
    return Found(
        device=Device.MICROWAVE,
        confidence=probability,
        certain=certain,
        center_mhz=mains["middle_mhz"] or 2455.0,
        bandwidth_mhz=max(mains["sweep_mhz"], 2.0),
        rssi_dbm=mains["power_dbm"],
        duty_cycle=min(max(mains["long_share"], mains["on_share"]), 1.0),
        first_s=float(rows[0]),
        last_s=float(rows[-1]),
        tolerance_mhz=100.0,
        features=mains,
    )
