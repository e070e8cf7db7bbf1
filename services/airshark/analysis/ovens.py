"""Decides whether what follows the mains is an oven, and which networks are none beside one."""

from dataclasses import replace

import numpy as np

from services.airshark.analysis.carrier import CarrierSeen
from services.airshark.analysis.carriers import folds, transform_mhz
from services.airshark.analysis.found import Device, Found
from services.airshark.analysis.mains import (
    CLEAR_BURST_MS,
    field_line,
    is_oven,
    keeps_closer_than_picture,
    lights_up,
)
from services.airshark.analysis.model import Model
from services.airshark.analysis.pictures import usual_dbm
from services.airshark.analysis.scene import Scene

CLEAR_OVEN, LIT_OVEN = 0.92, 0.75
REACH_MHZ = 2.0
BEYOND_DOUBT, AMONG_PICTURES = 0.985, 0.965
"""How likely an oven is where all might be of a picture: the second of these where several others are."""
OF_PICTURE_MHZ, BELOW_OVEN_DB, BESIDE_PICTURE = 5.0, -6.0, 0.9
"""So near, an oven is stronger than a picture, and more than likely, or hidden."""
HIDDEN = 1.6
"""An oven whose peaks follow the mains no better, compared with anything else, is hidden by something."""
OF_SOUND_MHZ, SOUND_BELOW_DB = 9.0, 15.0
MAY_BE_SOUND_BELOW_DB, FOLLOWS = 8.0, 0.35
"""What follows the mains no better than this may be sound if it is so much weaker."""
FAR_BELOW_PICTURE_DB, WELL_OVER_CONTROL = 35.0, 3.0
"""What is so much weaker, and does not keep to the mains that well, the radio itself makes of a picture,
anywhere in the band."""
FOLDED_BELOW_DB, PICTURE_FOLDED_FROM_MHZ = 15.0, 5.0
"""How much weaker what is folded is, at least, and how far beyond a view it may be."""
STAYS_MHZ, FRAME_ALIKE_DB = 1.6, 4.0
"""An oven sweeps further, and a frame is as strong as its network."""
ALIKE_DB = 6.0
ON_CHANNEL_MHZ, ON_CHANNEL_WITHIN_MHZ = 0.15, 1.3
PASSES_WITHIN_MHZ, WITH_MAINS, BY_CHANCE = 2.2, 0.4, 1.9
"""Some pulses at any times keep to one of four rhythms so well, times the root of their number."""


def find_oven(scene: Scene, model: Model) -> Found | None:
    """Returns the oven that is behind what follows the mains, if there is one."""
    trees, mains = model.decisions["microwave"], scene.mains
    probability = trees.probability(mains)
    if is_oven(mains):
        probability = max(probability, CLEAR_OVEN)
    elif lights_up(mains):
        probability = max(probability, LIT_OVEN)
    if probability < trees.doubtful_least or not mains["middle_mhz"]:
        return None
    least = trees.least
    if probability < BEYOND_DOUBT and _of_picture(scene, probability):
        if probability < AMONG_PICTURES:
            return None
        least = BEYOND_DOUBT
    oven = _oven(scene, probability, trees.is_certain(probability))
    return replace(oven, doubtful=probability < least)


def explains(found: Found, mains: dict[str, float]) -> bool:
    """Tells whether what follows the mains, by chance, is a network that stays where no oven would, or sends
    frames as strong as its bursts, which are no longer."""
    if found.device is not Device.ZIGBEE or not found.certain:
        return False
    near = abs(found.center_mhz - mains["middle_mhz"]) < REACH_MHZ
    frames = mains["burst_ms"] < CLEAR_BURST_MS
    frames &= abs(found.rssi_dbm - mains["power_dbm"]) < FRAME_ALIKE_DB
    return near and (mains["sweep_mhz"] < STAYS_MHZ or frames)


def is_part(found: Found, oven: Found, mains: dict[str, float]) -> bool:
    """Tells whether a fixed frequency is where an oven dwells at the turning points of its sweep.

    Beyond doubt, its own bursts are taken away before: what is certain all the same is something else.
    """
    near = abs(found.center_mhz - oven.center_mhz) < oven.bandwidth_mhz / 2 + REACH_MHZ
    if found.device is not Device.ZIGBEE:
        return near and found.device is Device.UNKNOWN
    if _passes_by(found, oven):
        return True
    stronger = found.rssi_dbm > oven.rssi_dbm + ALIKE_DB
    itself = stronger or (found.certain and (is_oven(mains) or _is_on_channel(found)))
    return oven.certain and near and not itself


def _of_picture(scene: Scene, probability: float) -> bool:
    """Tells whether what follows the mains is a picture, which begins anew nearly as often, its detail, or
    its sound, which moves with it."""
    mains = scene.mains
    if is_oven(mains) or keeps_closer_than_picture(mains):
        return False
    if any(_is_folded(each, scene) for each in scene.carriers if each.is_picture):
        return True
    off_mhz, weaker_db = mains["picture_off_mhz"], mains["picture_over_db"]
    if weaker_db > FAR_BELOW_PICTURE_DB and mains["field_over_control"] < WELL_OVER_CONTROL:
        return True
    if off_mhz < OF_PICTURE_MHZ:
        return weaker_db > BELOW_OVEN_DB or probability < BESIDE_PICTURE
    # In bursts as short as parts of its lines, it may be hardly weaker.
    below_db = SOUND_BELOW_DB if field_line(mains) > FOLLOWS else MAY_BE_SOUND_BELOW_DB
    least_db = below_db if mains["burst_ms"] > CLEAR_BURST_MS else 0.0
    return off_mhz < OF_SOUND_MHZ and weaker_db > least_db


def _is_folded(picture: CarrierSeen, scene: Scene) -> bool:
    """Tells whether what follows the mains is where the radio's transform folds a stronger picture to, which
    is little beyond every view that shows it."""
    air, mains = scene.air, scene.mains
    middle_mhz, from_mhz = mains["middle_mhz"], picture.frequency_mhz
    shown = [each for each in air.channels if abs(each - middle_mhz) < transform_mhz(air) / 2]
    if not shown or picture.power_dbm < mains["power_dbm"] + FOLDED_BELOW_DB:
        return False
    return all(
        folds(air, from_mhz, each, middle_mhz, OF_PICTURE_MHZ, PICTURE_FOLDED_FROM_MHZ) for each in shown
    )


def _passes_by(found: Found, oven: Found) -> bool:
    """Tells whether a fixed frequency is where a stronger oven comes by with the mains: at the border of a
    view, beyond which it is."""
    by_chance = BY_CHANCE / np.sqrt(found.features["count"])
    within_mhz = ON_CHANNEL_WITHIN_MHZ if _is_on_channel(found) else PASSES_WITHIN_MHZ
    return (
        found.features["edge_mhz"] < within_mhz
        and found.features["grid_mains"] > max(WITH_MAINS, by_chance)
        and found.rssi_dbm < oven.rssi_dbm
    )


def _is_on_channel(found: Found) -> bool:
    """Tells whether a network is in the middle of a channel, or may be: the spacing may not be known."""
    off_mhz, other_mhz, known = (
        found.features[each] for each in ("zigbee_off_mhz", "other_off_mhz", "axis_known")
    )
    return off_mhz < ON_CHANNEL_MHZ or (not known and other_mhz < ON_CHANNEL_MHZ)


def _oven(scene: Scene, probability: float, certain: bool) -> Found:
    mains = scene.mains
    rows = scene.air.time_s
    middle_mhz, power_dbm = mains["middle_mhz"], mains["power_dbm"]
    follows = max(mains[f"{each}_over_control"] for each in ("on", "field", "long"))
    if follows < HIDDEN < mains["band_over_control"]:
        middle_mhz = mains["band_middle_mhz"]
        power_dbm = min(usual_dbm(scene, middle_mhz), power_dbm)
    return Found(
        device=Device.MICROWAVE,
        confidence=probability,
        certain=certain,
        center_mhz=middle_mhz,
        bandwidth_mhz=max(mains["sweep_mhz"], 2.0),
        rssi_dbm=power_dbm,
        duty_cycle=min(max(mains["long_share"], mains["on_share"]), 1.0),
        first_s=float(rows[0]),
        last_s=float(rows[-1]),
        tolerance_mhz=100.0,
        features=mains,
    )
