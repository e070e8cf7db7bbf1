"""Tells carriers apart: by how far what is sent moves them."""

from collections.abc import Iterator

import numpy as np

from services.airshark.analysis.carriers import PICTURE_MHZ, WIDE_MHZ, CarrierSeen
from services.airshark.analysis.found import Device, Found
from services.airshark.analysis.scene import Scene

STILL_MHZ = 0.0065
"""A carrier that moves by less, noise included, has nothing on it."""
SPEECH_MHZ = 0.05
"""Speech of a phone moves its carrier by less, music with its stereo multiplex by more."""
NOISE_MHZ_AT_0_DB = 0.32
SAME_MHZ = 0.8
WEAKER_BY_DB = 32.0


def find_carrier_devices(scene: Scene) -> list[Found]:
    """Returns the devices behind the carriers of a scene."""
    carriers = list(_merged([each for each in scene.carriers if _believed(each, scene.carriers)]))
    kinds = [_kind(each) for each in carriers]
    still = [
        each for each, kind in zip(carriers, kinds, strict=True) if kind in (Device.CW, Device.ANALOG_PHONE)
    ]
    found: list[Found] = []
    # Base and handset of a phone are two carriers, one device.
    paired = len(still) == 2 and any(_kind(each) is Device.ANALOG_PHONE for each in still)
    if paired:
        found.append(_found(scene, Device.ANALOG_PHONE, max(still, key=lambda each: each.power_dbm), still))
    for carrier, kind in zip(carriers, kinds, strict=True):
        if not (paired and carrier in still):
            found.append(_found(scene, kind, carrier, [carrier]))
    return found


def _believed(carrier: CarrierSeen, others: list[CarrierSeen]) -> bool:
    if carrier.sweeps or not carrier.steady or carrier.over_db < 9.5 + 24 / np.sqrt(carrier.samples):
        return False
    # The skirt of a carrier just outside the view, and images of a strong one inside it.
    if carrier.spread_mhz > WIDE_MHZ and carrier.edge_mhz < 2.5:
        return False
    if carrier.edge_mhz < 0.3:
        return False
    same = [each for each in others if each.centre_mhz == carrier.centre_mhz]
    if any(each.power_dbm > carrier.power_dbm + WEAKER_BY_DB for each in same):
        return False
    return carrier.presence > (0.8 if carrier.broad else 0.7)


def _merged(carriers: list[CarrierSeen]) -> Iterator[CarrierSeen]:
    """Yields one of those that are the same carrier, seen from several channels: the best view of it."""
    left = sorted(carriers, key=lambda each: (each.edge_mhz > 1.5, each.power_dbm), reverse=True)
    kept: list[CarrierSeen] = []
    for each in left:
        near = [
            other
            for other in kept
            if abs(other.frequency_mhz - each.frequency_mhz) < SAME_MHZ + other.wander_mhz
        ]
        if not near:
            kept.append(each)
            yield each


def _moves_mhz(carrier: CarrierSeen) -> float:
    """Returns the movement of a carrier without what noise adds to it."""
    noise = NOISE_MHZ_AT_0_DB * 10 ** (-carrier.over_db / 20) * 1.2
    return float(np.sqrt(max(carrier.wander_mhz**2 - noise**2, 0)))


def _kind(carrier: CarrierSeen) -> Device:
    moves = _moves_mhz(carrier)
    if carrier.near_dc and moves < 2 * PICTURE_MHZ:
        # The middle bin is made up by the driver, so a carrier there cannot be placed exactly.
        return Device.ANALOG_AUDIO if moves > SPEECH_MHZ else Device.ANALOG_PHONE
    if moves > PICTURE_MHZ or carrier.spread_mhz > WIDE_MHZ:
        return Device.ANALOG_VIDEO
    if moves > SPEECH_MHZ:
        return Device.ANALOG_AUDIO
    # One that is too weak to see speech on it is taken for a phone: they are more common than generators.
    still = carrier.wander_mhz < STILL_MHZ and abs(carrier.drift_mhz) < 3 * STILL_MHZ
    return Device.CW if still else Device.ANALOG_PHONE


def _confidence(device: Device, carrier: CarrierSeen) -> float:
    """Returns how sure the kind is: by the distance from the limits between kinds, in factors."""
    moves = max(_moves_mhz(carrier), 1e-3)
    limits = np.array([STILL_MHZ, SPEECH_MHZ, PICTURE_MHZ])
    distance = float(np.abs(np.log2(moves / limits)).min())
    strength = 1 - np.exp(-(carrier.over_db - 8) / 4)
    base = 0.6 + 0.38 * min(distance / 1.5, 1.0)
    return float(base * strength * (0.8 if device is Device.CW else 1.0))


def _found(scene: Scene, device: Device, main: CarrierSeen, all_of: list[CarrierSeen]) -> Found:
    frequencies = [each.frequency_mhz for each in all_of]
    width = max(main.width_mhz if device is Device.ANALOG_VIDEO else main.spread_mhz, scene.air.spacing_mhz)
    rows = scene.air.time_s[scene.air.centre_mhz == main.centre_mhz]
    confidence = _confidence(device, main)
    return Found(
        device=device,
        confidence=confidence,
        certain=main.over_db > 12,
        center_mhz=main.frequency_mhz,
        bandwidth_mhz=width,
        rssi_dbm=main.power_dbm,
        duty_cycle=min(main.presence, 1.0),
        first_s=float(rows[0]),
        last_s=float(rows[-1]),
        tolerance_mhz=2.0 if device is Device.ANALOG_VIDEO else SAME_MHZ,
        features={
            "wander_mhz": main.wander_mhz,
            "spread_mhz": main.spread_mhz,
            "jumpiness": main.jumpiness,
            "over_db": main.over_db,
            "carriers": float(len(all_of)),
            "second_mhz": frequencies[-1]
            if len(all_of) > 1 and frequencies[-1] != main.frequency_mhz
            else frequencies[0],
        },
    )
