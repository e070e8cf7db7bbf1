"""Tells carriers apart: by how far what is sent moves them, how wide they are, and which others there are."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from services.airshark.analysis.carrier import MAX_SILENCE, WIDE_MHZ, CarrierSeen
from services.airshark.analysis.carriers import BORDER_MHZ
from services.airshark.analysis.found import SAME_CARRIER_MHZ, Device, Found
from services.airshark.analysis.gaps import between_channels, found_between
from services.airshark.analysis.model import Model
from services.airshark.analysis.pictures import has_sound, is_sideband, off_cameras_mhz, without_parts
from services.airshark.analysis.scene import Scene
from services.airshark.analysis.spacing import are_one, other_spacing

FINEST_MHZ = 0.001
"""Radios and transmitters that stand still seem to move by as much."""
NOISE_MHZ_AT_0_DB = 0.08
"""What noise moves a carrier by that is as strong as the noise; near the middle bin twice as much."""
HIDDEN_BELOW_DB = 14.0
"""A carrier some decibels weaker than another one must stand out."""
ALIKE_DB, MAY_DIFFER_DB = 13.0, 21.0
"""Base and handset differ by less than the first of these, mostly, and by less than the second at most."""
PHONES_MHZ, PHONE_STEP_MHZ, VIEW_BORDER_MHZ = (2402.0, 2480.0), 0.5, 0.5
"""Where base and handset may be."""
MAY_BE_PARTNER, MAY_BE_PARTNER_NEAR_DC = 0.45, 0.1
"""What is so likely its other carrier, as a share of how likely it is something else, completes a phone; near
the middle bin, which the driver makes up, less is known of a carrier."""
WEAKER_BY_DB, BESIDE_DB, BESIDE_MHZ = 32.0, 26.0, 4.0
FAR_BELOW_DB = 45.0
"""So much weaker and so near, in any view, is a product of the radio."""
MIN_OVER_SKIRT_DB = 6.0
"""So much a carrier in the skirt of another one stands out of it at least."""
CUT_SHARE = 0.5
SKIRT_MHZ, SKIRT_DB, WEAKER_THERE_DB, OFF_THERE_MHZ = 2.5, 10.0, 8.0, 0.3
"""At the border of a view a carrier seems weaker, and off its place, by up to as much."""
BORDER_OVER_DB, BORDER_SPREAD_MHZ = 20.0, 0.8
KINDS = (Device.ANALOG_PHONE, Device.ANALOG_AUDIO, Device.ANALOG_VIDEO, Device.CW)
NO_PHONE = tuple(each for each in KINDS if each is not Device.ANALOG_PHONE)
BAND_MHZ = (2395.0, 2490.0)
ISM_KINDS = (Device.ANALOG_PHONE, Device.ANALOG_AUDIO)
"""Devices of the 2.4 GHz band alone; elsewhere a narrow carrier is just that."""
CERTAIN = 0.75
NEAR_NOISE_DB, NEAR_FLOOR_DB, SURE_NEAR_NOISE = 17.0, 25.0, 0.75
"""What is no more above what else is in its samples, and above the quietest channel, must be so sure."""
STRONG_DB, STRONG_PRESENCE, STRONG_SAMPLES = 18.0, 0.9, 200
LEAST_OF_ALL, LEAST_SHARE = 0.3, 0.45
"""A strong carrier is of some kind: if all together are likely enough, the likeliest by far is taken."""
LEAST_MUSIC_MHZ, MUSIC_MHZ = 0.015, 0.3
ANOTHER_PHONE = 0.9
"""How sure a single carrier is of a phone if there is another one of a phone."""
BARE_MHZ, MOST_BARE_MHZ = 0.004, 0.0075
"""A bare carrier moves no further; beside a phone, of which it may seem a third one, it must stand still."""
WITH_SOUND = 0.9
"""How sure a carrier with the sound of a picture on both sides is one."""
CLEAR_DB, CLEAR_PICTURE, CLEAR_KIND = 20.0, 0.6, 0.5
"""A clear one in a scan has few samples, of which the forests have learned little."""


@dataclass(frozen=True)
class _Judged:
    """A carrier with its likeliest kind."""

    carrier: CarrierSeen
    kind: Device
    confidence: float
    phone: float
    """How likely it is one of a phone's."""


def find_carrier_devices(scene: Scene, model: Model) -> list[Found]:
    """Returns the devices behind the carriers of a scene."""
    carriers = _each_once(believed(scene), _other_axis(scene))
    gaps = between_channels(scene, carriers)
    bare = [gap for gap in gaps if not gap.moves]
    shown = [each for each in carriers if not each.outermost and not any(gap.shows_as(each) for gap in gaps)]
    phones, judged = _phones_and_others(scene, model, carriers, shown, bool(bare))
    phones += [[each] for each in judged if each.kind is Device.ANALOG_PHONE]
    found = [_found(scene, [each]) for each in judged if each.kind is not Device.ANALOG_PHONE]
    found += [_found(scene, each) for each in phones]
    moving = [gap for gap in gaps if gap.moves]
    if len(moving) > 1 or sum(len(each) == 1 for each in phones) != 1:
        # It is not the other carrier of a phone, which speech moves as well.
        found += [found_between(scene, gap, Device.ANALOG_AUDIO) for gap in moving]
    if not phones and len(bare) == 2:
        found.append(found_between(scene, max(bare, key=lambda gap: gap.power_dbm), Device.ANALOG_PHONE))
    elif all(len(each) > 1 for each in phones):
        # It is nobody's handset.
        found += [found_between(scene, gap, Device.CW) for gap in bare]
    return without_parts(found, scene)


def _phones_and_others(
    scene: Scene, model: Model, carriers: list[CarrierSeen], shown: list[CarrierSeen], other_between: bool
) -> tuple[list[list[_Judged]], list[_Judged]]:
    """Returns the phones whose base and handset are both among the carriers that are `shown`, and what the
    others of these are; `other_between` says that a bare carrier besides lies between channels."""
    left = carriers
    phones: list[list[_Judged]] = []
    while True:
        judged = [
            _judge(each, left, scene, model, other_between)
            for each in left
            if any(each is one for one in shown)
        ]
        judged = [each for each in judged if each.confidence >= _least(each, scene, model)]
        pair = _surest_pair(judged) or _likely_pair(judged) or (_bare_pair(judged) if not phones else [])
        if not pair:
            break
        # What is left is judged anew: the carriers of a phone are no partners of any other.
        phones.append(pair)
        left = [each for each in left if all(each is not one.carrier for one in pair)]
    # Whose base and handset are both there has no third carrier: what looks like one is something else. So is
    # one of two that differ too much to be of one phone, mostly.
    singles = [each for each in judged if each.kind is Device.ANALOG_PHONE]
    surest = max(singles, key=lambda each: each.confidence, default=None)
    judged = [
        _judge(each.carrier, left, scene, model, False, NO_PHONE)
        if each.kind is Device.ANALOG_PHONE
        and (phones or (each is not surest and each.confidence < ANOTHER_PHONE))
        else each
        for each in judged
    ]
    bare_mhz = BARE_MHZ if phones else MOST_BARE_MHZ
    return phones, [_not_bare(each, bare_mhz) for each in judged]


def _decision(kind: Device) -> str:
    return f"carrier_{kind.value}"


def _least(judged: _Judged, scene: Scene, model: Model) -> float:
    """Returns from which confidence a carrier is named: near the noise only what is sure."""
    carrier = judged.carrier
    near_noise = carrier.over_db < NEAR_NOISE_DB
    near_noise &= carrier.power_dbm < float(scene.floors_dbm.min()) + NEAR_FLOOR_DB
    return max(model.decisions[_decision(judged.kind)].least, SURE_NEAR_NOISE if near_noise else 0.0)


def _judge(
    carrier: CarrierSeen,
    carriers: list[CarrierSeen],
    scene: Scene,
    model: Model,
    other_between: bool,
    kinds: tuple[Device, ...] = KINDS,
) -> _Judged:
    """Judges one of some carriers; `other_between` says that a bare one besides lies between channels."""
    features = kind_features(carrier, carriers, scene)
    chances = {kind: model.decisions[_decision(kind)].probability(features) for kind in kinds}
    if _without_noise(carrier.wander_mhz, carrier, 0.0) > MUSIC_MHZ and max(chances.values()) < CLEAR_KIND:
        # Hardly any music moves a carrier that far: what is said for other kinds speaks for a picture.
        picture = sum(chances.values())
        if carrier.is_picture and carrier.over_db > CLEAR_DB:
            picture = max(picture, CLEAR_PICTURE)
        chances = {Device.ANALOG_VIDEO: min(picture, 1.0)}
    if features["has_sound"] and Device.ANALOG_VIDEO in chances:
        chances[Device.ANALOG_VIDEO] = max(chances[Device.ANALOG_VIDEO], WITH_SOUND)
    total = sum(chances.values())
    if _is_strong(carrier) and total > LEAST_OF_ALL and max(chances.values()) > LEAST_SHARE * total:
        chances = {each: max(chance, chance / total) for each, chance in chances.items()}
    kind = max(chances, key=lambda each: chances[each])
    speaks = kind is Device.ANALOG_AUDIO and features["still_mhz"] < LEAST_MUSIC_MHZ
    if (kind is Device.CW or speaks) and other_between and not features["alike"]:
        # Base and handset of a phone.
        chances[Device.ANALOG_PHONE] = chances[kind]
        kind = Device.ANALOG_PHONE
    if kind in ISM_KINDS and not BAND_MHZ[0] < carrier.frequency_mhz < BAND_MHZ[1]:
        kind, chances = Device.CW, {Device.CW: min(sum(chances.values()), 1.0)}
    return _Judged(carrier, kind, chances[kind], chances.get(Device.ANALOG_PHONE, 0.0))


def _not_bare(judged: _Judged, bare_mhz: float) -> _Judged:
    """Takes a carrier that is said to be bare, but clearly moves further, for music."""
    clear = judged.carrier.over_db > CLEAR_DB and _moves_mhz(judged.carrier) > bare_mhz
    return replace(judged, kind=Device.ANALOG_AUDIO) if judged.kind is Device.CW and clear else judged


def _surest_pair(judged: list[_Judged]) -> list[_Judged]:
    """Returns what is likeliest base and handset of one phone, the stronger one first, if anything is."""
    phones = sorted(
        (each for each in judged if each.kind is Device.ANALOG_PHONE), key=lambda each: -each.confidence
    )
    pairs = (_stronger_first(each) for each in combinations(phones, 2) if _are_alike(each[0], each[1]))
    return next(pairs, [])


def _likely_pair(judged: list[_Judged]) -> list[_Judged]:
    """Returns the one carrier that is a phone's with the one that may be its other one: few phones have no
    more than one."""
    phones = [each for each in judged if each.kind is Device.ANALOG_PHONE]
    if len(phones) != 1:
        return []
    (phone,) = phones
    others = [
        each
        for each in judged
        if each.kind in (Device.ANALOG_AUDIO, Device.CW)
        and each.phone > _least_share(each.carrier) * each.confidence
        and _are_alike(each, phone, MAY_DIFFER_DB)
    ]
    if len(others) != 1:
        return []
    other = replace(others[0], kind=Device.ANALOG_PHONE, confidence=others[0].phone)
    return _stronger_first((phone, other))


def _least_share(carrier: CarrierSeen) -> float:
    return MAY_BE_PARTNER_NEAR_DC if carrier.near_dc else MAY_BE_PARTNER


def _bare_pair(judged: list[_Judged]) -> list[_Judged]:
    """Returns two bare carriers that may be base and handset of a phone on which nobody speaks, if there are
    two and no more."""
    bare = [
        each for each in judged if each.kind is Device.CW and each.phone > MAY_BE_PARTNER * each.confidence
    ]
    if len(bare) != 2 or any(each.kind is Device.ANALOG_PHONE for each in judged):
        return []
    if not _are_alike(bare[0], bare[1]):
        return []
    return _stronger_first([replace(each, kind=Device.ANALOG_PHONE) for each in bare])


def _are_alike(one: _Judged, other: _Judged, within_db: float = ALIKE_DB) -> bool:
    """Tells whether two carriers are as strong as base and handset of one phone may be."""
    return abs(one.carrier.power_dbm - other.carrier.power_dbm) < within_db


def _stronger_first(pair: Iterable[_Judged]) -> list[_Judged]:
    return sorted(pair, key=lambda each: -each.carrier.power_dbm)


def _is_strong(carrier: CarrierSeen) -> bool:
    return (
        carrier.over_db > STRONG_DB
        and carrier.presence > STRONG_PRESENCE
        and carrier.samples >= STRONG_SAMPLES
    )


def believed(scene: Scene) -> list[CarrierSeen]:
    """Returns the carriers that are more than skirts, images, sweeps and parts of a picture, each once."""
    carriers = [each for each in scene.carriers if _believed(each, scene.carriers)]
    merged = list(_merged(carriers, _other_axis(scene)))
    return [each for each in merged if not any(is_sideband(each, other, merged) for other in merged)]


def _other_axis(scene: Scene) -> float:
    """Returns how many times as far apart the bins may lie as they seem to."""
    return other_spacing(scene.air.spacing_mhz) / scene.air.spacing_mhz


def _each_once(carriers: list[CarrierSeen], ratio: float) -> list[CarrierSeen]:
    """Leaves out what is only more of a stronger one of these; bins may lie so many times as far apart."""
    return [each for each in carriers if not any(_is_of(each, other, ratio) for other in carriers)]


def _is_of(carrier: CarrierSeen, other: CarrierSeen, ratio: float) -> bool:
    """Tells whether a carrier is a product of the radio beside another one, its skirt at the border of the
    next view, or that one itself, which is weaker there."""
    apart_mhz = abs(other.frequency_mhz - carrier.frequency_mhz)
    stronger_db = other.power_dbm - carrier.power_dbm
    if apart_mhz < BESIDE_MHZ and stronger_db > FAR_BELOW_DB:
        return True
    if other.centre_mhz == carrier.centre_mhz:
        return apart_mhz < BESIDE_MHZ and stronger_db > BESIDE_DB
    cut = carrier.cut_share > CUT_SHARE > other.cut_share
    skirt = cut and apart_mhz < SKIRT_MHZ and stronger_db > SKIRT_DB
    return skirt or (stronger_db > 0 and are_one(other, carrier, ratio, WEAKER_THERE_DB, OFF_THERE_MHZ))


def kind_features(carrier: CarrierSeen, carriers: list[CarrierSeen], scene: Scene) -> dict[str, float]:
    """Returns what tells its kind; with few channels, the other carrier of a phone may not be seen.

    What is finer than all radios show, or more than tells anything, is cut off: how fine a radio is says
    nothing about the device.
    """
    others = [each for each in carriers if each is not carrier and not (each.broad or each.may_be_picture)]
    level = [abs(each.power_dbm - carrier.power_dbm) for each in others]
    alike = [each for each, off_db in zip(others, level, strict=True) if off_db < ALIKE_DB]
    return {
        "still_mhz": _moves_mhz(carrier),
        "wander_mhz": carrier.wander_mhz,
        "smooth_mhz": max(carrier.smooth_mhz, FINEST_MHZ),
        "tails_mhz": max(carrier.tails_mhz, 5 * FINEST_MHZ),
        # Music seldom moves a carrier much further than usual; each line of a picture does.
        "tails_over_still": carrier.tails_mhz / _moves_mhz(carrier),
        "jumpiness": carrier.jumpiness,
        "spread_mhz": carrier.spread_mhz,
        "width_mhz": carrier.width_mhz,
        "swing_db": carrier.power_swing_db,
        "flicker_db": carrier.flicker_db,
        "tip_share": carrier.tip_share,
        "other_tip_share": carrier.other_tip_share,
        "pilot_share": carrier.pilot_share,
        "line_share": carrier.line_share,
        "bass_share": carrier.bass_share,
        "over_db": min(carrier.over_db, 32.0),
        "samples": min(float(carrier.samples), 500.0),
        "presence": carrier.presence,
        "channels": float(len(scene.floors_dbm)),
        # Where another carrier like it would not be seen.
        "hidden_share": float((scene.floors_dbm > carrier.power_dbm - HIDDEN_BELOW_DB).mean()),
        "sound_db": carrier.sound_db,
        "has_sound": float(has_sound(carrier, scene)),
        "camera_off_mhz": off_cameras_mhz(carrier, _other_axis(scene)),
        "drift_mhz": abs(carrier.drift_mhz),
        "near_dc": float(carrier.near_dc),
        "in_skirt": float(carrier.in_skirt),
        "edge_mhz": min(carrier.edge_mhz, 2.0),
        "alike": float(len(alike)),
        "unpaired_share": 0.0 if alike else _seen_share(scene, carrier.power_dbm - HIDDEN_BELOW_DB),
        "alike_still_mhz": min(map(_moves_mhz, alike), default=0.3),
        "other_level_db": min([*level, 25.0]),
    }


def _seen_share(scene: Scene, level_dbm: float) -> float:
    """Returns in how much of the band a phone's other carrier would be seen, if it is so much above the
    floor."""
    air = scene.air
    places = np.arange(*PHONES_MHZ, PHONE_STEP_MHZ)
    seen = np.zeros(len(places), bool)
    for rows, floor_dbm in zip(air.channels.values(), scene.floors_dbm, strict=True):
        first_mhz = float(air.first_bin_mhz[rows[0]])
        last_mhz = first_mhz + air.dbm.shape[1] * air.spacing_mhz
        inside = (places > first_mhz + VIEW_BORDER_MHZ) & (places < last_mhz - VIEW_BORDER_MHZ)
        seen |= inside & (floor_dbm <= level_dbm)
    return float(seen.mean())


def _moves_mhz(carrier: CarrierSeen) -> float:
    """Returns how far what is sent moves a carrier, as far as radios show it."""
    return _without_noise(carrier.still_mhz, carrier, FINEST_MHZ)


def _without_noise(moves_mhz: float, carrier: CarrierSeen, least: float) -> float:
    """Returns how far a carrier moves, less what noise adds."""
    noise = NOISE_MHZ_AT_0_DB * 10 ** (-carrier.over_db / 20) * (1 + carrier.near_dc)
    return max(float(np.sqrt(max(moves_mhz**2 - noise**2, 0))), least)


def _believed(carrier: CarrierSeen, others: list[CarrierSeen]) -> bool:
    least_over_db = MIN_OVER_SKIRT_DB if carrier.in_skirt else 9.5 + 24 / np.sqrt(carrier.samples)
    if carrier.of_oven or not carrier.steady or carrier.over_db < least_over_db:
        return False
    # The skirt of a carrier just outside the view, and that part of a busy Wi-Fi channel which is in view.
    if carrier.spread_mhz > WIDE_MHZ and (carrier.edge_mhz < 2.5 or carrier.cut_share > CUT_SHARE):
        return False
    if carrier.pauses:
        return False
    # At the border of the view: there, or hardly outside, if it is no more than a skirt from further out.
    at_border = carrier.edge_mhz < BORDER_MHZ
    if at_border and (
        carrier.over_db < BORDER_OVER_DB
        or carrier.spread_mhz > BORDER_SPREAD_MHZ
        or carrier.silence > MAX_SILENCE
    ):
        return False
    same = [each for each in others if each.centre_mhz == carrier.centre_mhz]
    if any(each.power_dbm > carrier.power_dbm + WEAKER_BY_DB for each in same):
        return False
    # A stronger one in view hides a picture that comes near it now and then.
    beside = any(not each.broad and each.power_dbm > carrier.power_dbm for each in same)
    least = 0.8 if at_border or (carrier.broad and not beside) else 0.7
    return carrier.presence > least


def _merged(carriers: list[CarrierSeen], ratio: float) -> Iterator[CarrierSeen]:
    """Yields one of those that are the same carrier, seen from several channels: the best view of it.

    With bins so many times as far apart as they seem to be, two carriers may be one.
    """
    left = sorted(
        carriers,
        key=lambda each: (each.edge_mhz > 1.5, not each.near_dc, not each.in_skirt, each.power_dbm),
        reverse=True,
    )
    kept: list[CarrierSeen] = []
    for each in left:
        near = [
            other
            for other in kept
            if abs(other.frequency_mhz - each.frequency_mhz) < SAME_CARRIER_MHZ + other.wander_mhz
            or are_one(other, each, ratio)
        ]
        if not near:
            kept.append(each)
            yield each


def _found(scene: Scene, all_of: list[_Judged]) -> Found:
    """Returns the device that one or two carriers are of, the main one first."""
    main, device = all_of[0].carrier, all_of[0].kind
    confidence = max(each.confidence for each in all_of)
    width = max(main.width_mhz if device is Device.ANALOG_VIDEO else main.spread_mhz, scene.air.spacing_mhz)
    rows = scene.air.time_s[scene.air.channels[main.centre_mhz]]
    return Found(
        device=device,
        confidence=confidence,
        certain=main.over_db > 12 and confidence >= CERTAIN,
        center_mhz=main.frequency_mhz,
        bandwidth_mhz=width,
        rssi_dbm=main.power_dbm,
        duty_cycle=min(main.presence, 1.0),
        first_s=float(rows[0]),
        last_s=float(rows[-1]),
        tolerance_mhz=2.0 if device is Device.ANALOG_VIDEO else SAME_CARRIER_MHZ,
        features={
            "wander_mhz": main.wander_mhz,
            "spread_mhz": main.spread_mhz,
            "jumpiness": main.jumpiness,
            "over_db": main.over_db,
            "carriers": float(len(all_of)),
            "second_mhz": all_of[-1].carrier.frequency_mhz,
        },
    )
