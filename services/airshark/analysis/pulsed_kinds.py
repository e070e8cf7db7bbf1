"""Decides which devices are behind the pulses of a scene."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from services.airshark.analysis.connections import of_connection
from services.airshark.analysis.fixed import BLE_ADVERTISING_MHZ, FixedGroup
from services.airshark.analysis.found import Device, Found
from services.airshark.analysis.hopping import by_power, describe_hops, within
from services.airshark.analysis.model import CERTAIN, Model, Trees
from services.airshark.analysis.ovens import WITH_MAINS, explains, find_oven, is_part
from services.airshark.analysis.pulses import Pulses
from services.airshark.analysis.ranks import median
from services.airshark.analysis.scene import Scene
from services.airshark.analysis.slots import EXPLAINED, SLOTS_S, keep_other_slots, own_pulses, without
from services.airshark.analysis.zigbee import nearest_channel_mhz

HOPPERS = (Device.BLUETOOTH, Device.BLE, Device.FHSS_PHONE, Device.XBOX)
BAND_MHZ = {
    Device.BLUETOOTH: (2441.0, 79.0),
    Device.BLE: (2441.0, 80.0),
    Device.FHSS_PHONE: (2440.0, 80.0),
    Device.XBOX: (2441.0, 79.0),
}
CONNECTION = 0.95
"""How sure pulses that take turns on even frequencies are a connection."""
BEYOND_DOUBT = 0.97
NEAR_NOISE_DB, NEVER_ENDS_DB = 15.0, 4.5
NEVERTHELESS = 0.95
"""So near the noise, what is stronger than its neighbours all the time is a carrier that shows at times, if
it is no more likely than that."""
RETUNED_S, MOST_RETUNED = 0.5e-3, 0.6
OF_CHANNEL_MHZ = 1.0
SAME_CHANNEL_MHZ, MAY_BE_STATION = 0.5, 0.3
ALIKE_DB, FAR_BELOW_DB = 6.0, 20.0
MAY_BE_THERE, CLEAR_DB = 0.25, 20.0
ADVERTISING_MHZ, APART_MHZ, SAME_DB, SAME_SHARE = 0.8, 10.0, 4.0, 1.6
MAY_ADVERTISE, ADVERTISES, ON_TWO_CHANNELS = 0.3, 0.5, 0.85
"""Pulses on two channels of advertisers that are so likely of one, and how sure both together are."""
FINER = 0.7
"""Less likely, a part of a group that as a whole shows nothing is believed to be nothing."""
MIN_LEFT = 12
"""So many pulses that the networks found among them do not explain are looked at for themselves."""


def find_pulsed_devices(scene: Scene, model: Model) -> list[Found]:
    """Returns the devices that send bursts."""
    found: list[Found] = []
    if scene.has_pulses:
        free = np.ones(len(scene.pulses), bool)
        advertises = _on_two_channels(scene, model)
        named = [
            (group, Device.BLE, ON_TWO_CHANNELS, False)
            if any(group is each for each in advertises)
            else (group, *_kind_of(group, model))
            for group in scene.fixed
            if not _of_channel_before(scene, group)
        ]
        networks = [group.frequency_mhz for group, kind, _, sure in named if kind is Device.ZIGBEE and sure]
        for group, kind, confidence, certain in named:
            doubtful = kind is Device.ZIGBEE and confidence < model.decisions["zigbee"].least
            if (doubtful or kind is not Device.ZIGBEE) and _is_station(group, networks, model):
                kind, certain, doubtful = Device.ZIGBEE, False, False
            if kind is None:
                continue
            found.append(replace(_fixed(scene, group, kind, confidence, certain), doubtful=doubtful))
            if kind is Device.ZIGBEE and not doubtful:
                free &= ~group.members
        hoppers = _hoppers(scene, scene.pulses.select(free & scene.pulses.clear), model)
        hoppers = [twice_if_image(each, hoppers) for each in hoppers]
        found = _one_per_channel(found)
        found = [each for each in found if not _passed_by(each, hoppers)] + hoppers
    oven = find_oven(scene, model)
    if oven is not None and not any(explains(each, scene.mains) for each in found):
        if not oven.doubtful:
            found = [each for each in found if not is_part(each, oven, scene.mains)]
        found.append(oven)
    return _one_ble(found)


def _of_channel_before(scene: Scene, group: FixedGroup) -> bool:
    """Tells whether pulses come just as the radio comes to a channel: its first samples may be of the one
    before, where something else is."""
    mine, air = scene.pulses.select(group.members), scene.air
    came_s = air.time_s[np.searchsorted(air.visit, mine.visit)]
    return float((mine.start_s - came_s < RETUNED_S).mean()) > MOST_RETUNED


def _kind_of(group: FixedGroup, model: Model) -> tuple[Device | None, float, bool]:
    features = group.features
    never_ends = features["over_db"] < NEAR_NOISE_DB and features["quiet_over_db"] > NEVER_ENDS_DB
    for device, name in ((Device.ZIGBEE, "zigbee"), (Device.BLE, "ble_advertising")):
        trees = model.decisions[name]
        probability = trees.probability(features)
        if probability >= (NEVERTHELESS if never_ends else _least(trees, device)):
            return device, probability, trees.is_certain(probability)
    strange = (
        features["count"] >= 40
        and features["duty"] > 0.02
        and features["over_neighbours"] > 8
        and features["over_db"] > 16
        and features["power_scatter_db"] < 3
        and features["whole_share"] > 0.8
        and features["tiny_share"] < 0.3
        and features["scatter_mhz"] < 0.3
        and features["below_carrier_db"] < FAR_BELOW_DB
        # What comes by with each cycle of the mains is an oven, however little of it shows.
        and features["grid_mains"] < WITH_MAINS
    )
    return (Device.UNKNOWN, 0.5, False) if strange else (None, 0.0, False)


def _least(trees: Trees, device: Device) -> float:
    """Returns from which probability on a device may be there: other hoppers are easily taken for Bluetooth
    LE, which is never doubtful."""
    return trees.least if device is Device.BLE else trees.doubtful_least


def _on_two_channels(scene: Scene, model: Model) -> list[FixedGroup]:
    """Returns the groups of an advertiser that shows on two of its three channels."""
    trees = model.decisions["ble_advertising"]
    groups = [each for each in scene.fixed if each.features["ble_off_mhz"] < ADVERTISING_MHZ]
    for one, other in combinations(groups, 2):
        if not _send_the_same(scene.pulses, one, other):
            continue
        less, more = sorted(trees.probability(each.features) for each in (one, other))
        if less > MAY_ADVERTISE and more > ADVERTISES:
            return [one, other]
    return []


def _send_the_same(pulses: Pulses, one: FixedGroup, other: FixedGroup) -> bool:
    """Tells whether groups on two frequencies are equally strong, with as many pulses of the same length."""
    if abs(one.frequency_mhz - other.frequency_mhz) < APART_MHZ:
        return False
    weaker_dbm, stronger_dbm = sorted(median(pulses.power_dbm[each.members]) for each in (one, other))
    if stronger_dbm - weaker_dbm > SAME_DB:
        return False
    for name in ("per_s", "duration_p50_ms"):
        less, more = sorted(each.features[name] for each in (one, other))
        if more > SAME_SHARE * less:
            return False
    return True


def _fixed(scene: Scene, group: FixedGroup, kind: Device, confidence: float, certain: bool) -> Found:
    mine = scene.pulses.select(group.members)
    center = group.frequency_mhz
    if kind is Device.BLE:
        center = min(BLE_ADVERTISING_MHZ, key=lambda each: abs(each - center))
    if kind is Device.ZIGBEE and group.features["zigbee_off_mhz"] < OF_CHANNEL_MHZ:
        # At the border of a view its middle is not seen; its channels are known.
        center = float(nearest_channel_mhz(center))
    return Found(
        device=kind,
        confidence=confidence,
        certain=certain,
        center_mhz=center,
        bandwidth_mhz=2.0 if kind is not Device.UNKNOWN else group.features["width_mhz"],
        rssi_dbm=median(mine.power_dbm),
        duty_cycle=min(group.features["duty"], 1.0),
        first_s=float(mine.start_s.min()),
        last_s=float(mine.end_s.max()),
        tolerance_mhz=2.0,
        features=group.features,
    )


def _is_station(group: FixedGroup, networks_mhz: list[float], model: Model) -> bool:
    """Tells whether pulses of another power, on the frequency of a ZigBee network, may be of one of its
    stations."""
    near = any(abs(group.frequency_mhz - each) < SAME_CHANNEL_MHZ for each in networks_mhz)
    return near and model.decisions["zigbee"].probability(group.features) > MAY_BE_STATION


def _one_per_channel(found: list[Found]) -> list[Found]:
    """Joins the stations of a ZigBee network, of which the strongest one says how strong it is."""
    joined: list[Found] = []
    for each in sorted(found, key=lambda one: -one.rssi_dbm):
        same = [
            at
            for at, other in enumerate(joined)
            if each.device is other.device is Device.ZIGBEE
            and abs(each.center_mhz - other.center_mhz) < each.tolerance_mhz
        ]
        if not same:
            joined.append(each)
            continue
        other = joined[same[0]]
        joined[same[0]] = replace(
            other,
            confidence=max(each.confidence, other.confidence),
            certain=each.certain or other.certain,
            doubtful=each.doubtful and other.doubtful,
            duty_cycle=min(each.duty_cycle + other.duty_cycle, 1.0),
        )
    return joined


def _passed_by(found: Found, hoppers: list[Found]) -> bool:
    """Tells whether an advertiser may be a place where a hopper of its power came by often."""
    if found.device is not Device.BLE or found.confidence >= BEYOND_DOUBT:
        return False
    sure = [each for each in hoppers if each.certain and each.device is not Device.BLE]
    return any(abs(each.rssi_dbm - found.rssi_dbm) < ALIKE_DB for each in sure)


def twice_if_image(found: Found, hoppers: list[Found]) -> Found:
    """Takes a Bluetooth LE device for less than certain if it may be what the radio folds or mirrors into its
    views of a far stronger hopper: a few short bursts now and then."""
    far_dbm = found.rssi_dbm + FAR_BELOW_DB
    may_be_image = any(each.certain and each.rssi_dbm > far_dbm for each in hoppers)
    return replace(found, certain=False) if found.device is Device.BLE and may_be_image else found


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
    groups = by_power(pulses)
    for group in groups:
        for device, answer in _answers(scene, group, model):
            answers.setdefault(device, []).append(answer)
    sure = {
        device
        for device, given in answers.items()
        if any(each.probability >= model.decisions[device.value].least for each in given)
    }
    finer: dict[Device, list[_Answer]] = {}
    for group in groups:
        for part in (each for each in within(group) if len(each) >= MIN_LEFT):
            for device, answer in _answers(scene, part, model):
                if device not in sure and answer.probability >= FINER:
                    finer.setdefault(device, []).append(answer)
    for device, given in finer.items():
        answers.setdefault(device, []).extend(given)
    if (connection := of_connection(scene.air, pulses)).any():
        mine = pulses.select(connection)
        answers[Device.BLE] = [_Answer(CONNECTION, mine, describe_hops(scene.air, mine), leads=True)]
    found = []
    for device, given in answers.items():
        trees = model.decisions[device.value]
        given.sort(key=lambda each: -each.probability)
        best, *others = given
        # What is as strong all over the band is mostly one hopper: another one must be seen again.
        certain = trees.is_certain(best.probability) and best.leads
        apart = _of_another(device, best, others) if certain else []
        if not any(trees.is_certain(each.probability) for each in apart):
            apart = []
        stations = [each for each in given if all(each is not other for other in apart)]
        doubtful = best.probability < trees.least
        found.append(replace(_hopper(scene, device, stations, certain), doubtful=doubtful))
        if apart:
            found.append(replace(_hopper(scene, device, apart, True), another=True))
    return found


def _of_another(device: Device, best: _Answer, others: list[_Answer]) -> list[_Answer]:
    """Returns those of the others that keep to the slots of another clock."""
    if device not in SLOTS_S:
        return []
    return [each for each in others if keep_other_slots(best.pulses, each.pulses, SLOTS_S[device])]


def _answers(scene: Scene, group: Pulses, model: Model) -> Iterator[tuple[Device, _Answer]]:
    """Yields what the pulses of one power may be, and what those that this leaves over may be."""
    sure: set[Device] = set()
    left = group
    unsure: list[tuple[Device, _Answer]] = []
    while len(left) >= (MIN_LEFT if sure else 1):
        features = describe_hops(scene.air, left)
        chances = _chances(features, model, sure)
        # What looked like another one beside a network that is certain still does without its pulses.
        clear = not sure or median(left.over_db) > CLEAR_DB
        yield from (each for each in unsure if clear and chances[each[0]] >= MAY_BE_THERE)
        unsure = []
        if not clear:
            # So near the noise starts are not known well enough to tell which pulses are the network's own.
            chances = {each: chance for each, chance in chances.items() if chance >= CERTAIN}
        found = set()
        others = np.ones(len(left), bool)
        for device, chance in chances.items():
            trees = model.decisions[device.value]
            if chance < _least(trees, device):
                continue
            own = own_pulses(left, device)
            mine = left.select(own)
            leads = chance == max(chances.values())
            if not len(mine):
                continue
            answer = device, _Answer(chance, mine, features, leads)
            if device in EXPLAINED and trees.is_certain(chance):
                found.add(device)
                others &= ~own
                yield answer
            elif leads:
                yield answer
            elif device is not Device.BLE:
                unsure.append(answer)
        if not found:
            yield from unsure
            yield from _beside(scene, left, chances, model)
            break
        sure |= found
        left = left.select(others)


def _beside(
    scene: Scene, pulses: Pulses, chances: dict[Device, float], model: Model
) -> Iterator[tuple[Device, _Answer]]:
    """Yields what is certain once the pulses of a network that may be there are taken away."""
    for network in SLOTS_S:
        if chances.get(network, 0.0) < MAY_BE_THERE:
            continue
        rest = without(pulses, {network})
        if len(rest) < MIN_LEFT:
            continue
        features = describe_hops(scene.air, rest)
        others = _chances(features, model, {network, Device.BLE})
        device = max(others, key=lambda each: others[each])
        if not model.decisions[device.value].is_certain(others[device]):
            continue
        mine = rest.select(own_pulses(rest, device))
        if len(mine):
            yield device, _Answer(others[device], mine, features, leads=True)


def _chances(features: dict[str, float], model: Model, known: Collection[Device]) -> dict[Device, float]:
    """Returns how likely each hopper is that is not known yet."""
    return {each: model.decisions[each.value].probability(features) for each in HOPPERS if each not in known}


def _hopper(scene: Scene, device: Device, stations: list[_Answer], certain: bool) -> Found:
    """Returns a network of which one or several stations are heard, the likeliest first; the strongest one
    says how strong it is."""
    center, band = BAND_MHZ[device]
    heard = [_usual(each.pulses) for each in stations]
    view_mhz = scene.air.dbm.shape[1] * scene.air.spacing_mhz
    on_air_s = sum(float(each.duration_s.sum()) for each in heard)
    in_view = on_air_s / max(len(scene.air) * scene.air.interval_s, 1e-3)
    return Found(
        device=device,
        confidence=stations[0].probability,
        certain=certain,
        center_mhz=center,
        bandwidth_mhz=band,
        rssi_dbm=max(median(each.power_dbm) for each in heard),
        duty_cycle=float(min(in_view * band / min(view_mhz, band), 1.0)),
        first_s=min(float(each.start_s.min()) for each in heard),
        last_s=max(float(each.end_s.max()) for each in heard),
        tolerance_mhz=100.0,
        features={k: v for k, v in stations[0].features.items() if not k.startswith("per_s_to")},
    )


def _usual(pulses: Pulses) -> Pulses:
    """Returns the pulses around the power that most have."""
    order = np.sort(pulses.power_dbm)
    inside = np.searchsorted(order, order + 6.0, side="right") - np.arange(len(order))
    at = int(inside.argmax())
    low, high = order[at], order[at + int(inside[at]) - 1]
    return pulses.select((pulses.power_dbm >= low - 3) & (pulses.power_dbm <= high + 3))
