"""Decides which devices are behind the pulses of a scene."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from services.airshark.analysis.connections import of_connection
from services.airshark.analysis.fixed import (
    BLE_ADVERTISING_MHZ,
    ZIGBEE_FIRST_MHZ,
    ZIGBEE_STEP_MHZ,
    FixedGroup,
)
from services.airshark.analysis.found import Device, Found
from services.airshark.analysis.hopping import by_power, describe_hops
from services.airshark.analysis.mains import is_oven, keeps_to_mains
from services.airshark.analysis.model import Model, Trees
from services.airshark.analysis.pulses import Pulses
from services.airshark.analysis.scene import Scene
from services.airshark.analysis.slots import SLOTS_S, keep_other_slots, own_pulses, without

HOPPERS = (Device.BLUETOOTH, Device.BLE, Device.FHSS_PHONE, Device.XBOX)
BAND_MHZ = {
    Device.BLUETOOTH: (2441.0, 79.0),
    Device.BLE: (2441.0, 80.0),
    Device.FHSS_PHONE: (2440.0, 80.0),
    Device.XBOX: (2441.0, 79.0),
}
CERTAIN = 0.9
CONNECTION = 0.95
"""How sure pulses that take turns on even frequencies are a connection."""
OVEN_REACH_MHZ = 2.0
CLEAR_OVEN, BEYOND_DOUBT = 0.92, 0.97
LEAST_SWEEP_MHZ = 1.0
STAYS_MHZ = 1.6
"""An oven sweeps further."""
OF_CHANNEL_MHZ = 1.0
ALIKE_DB = 6.0
MIN_LEFT = 12
"""So many pulses that the networks found among them do not explain are looked at for themselves."""


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
    """Tells whether what keeps to the mains, perhaps by chance, has long bursts and sweeps as ovens do, or
    keeps to them too well for that."""
    sweeps = mains["burst_ms"] > 0 and (is_oven(mains) or mains["sweep_mhz"] > LEAST_SWEEP_MHZ)
    return sweeps or keeps_to_mains(mains)


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
        for device, answer in _answers(scene, group, model):
            answers.setdefault(device, []).append(answer)
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


def _answers(scene: Scene, group: Pulses, model: Model) -> Iterator[tuple[Device, _Answer]]:
    """Yields what the pulses of one power may be, and what those that this leaves over may be."""
    sure: set[Device] = set()
    left = group
    while len(left) >= (MIN_LEFT if sure else 1):
        features = describe_hops(scene.air, left)
        chances = {
            each: model.decisions[each.value].probability(features) for each in HOPPERS if each not in sure
        }
        found = set()
        for device, chance in chances.items():
            mine = left.select(own_pulses(left, device))
            leads = chance == max(chances.values())
            if chance < model.decisions[device.value].least or not len(mine):
                continue
            if leads or device is not Device.BLE:
                yield device, _Answer(chance, mine, features, leads)
            if device in SLOTS_S and _is_certain(chance, model.decisions[device.value]):
                found.add(device)
        if not sure and (connection := of_connection(scene.air, group)).any():
            yield Device.BLE, _Answer(CONNECTION, group.select(connection), features, leads=True)
        if not found:
            break
        sure |= found
        left = without(left, found)


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


def _microwave(scene: Scene, probability: float, certain: bool) -> Found:
    mains = scene.mains
    rows = scene.air.time_s
    return Found(
        device=Device.MICROWAVE,
        confidence=probability,
        certain=certain,
        center_mhz=mains["middle_mhz"],
        bandwidth_mhz=max(mains["sweep_mhz"], 2.0),
        rssi_dbm=mains["power_dbm"],
        duty_cycle=min(max(mains["long_share"], mains["on_share"]), 1.0),
        first_s=float(rows[0]),
        last_s=float(rows[-1]),
        tolerance_mhz=100.0,
        features=mains,
    )
