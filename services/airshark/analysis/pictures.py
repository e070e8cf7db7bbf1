"""Tells what is part of a picture from other devices beside it: its sound and colour, on both sides of it."""

import numpy as np

from services.airshark.analysis.carrier import CAMERAS_MHZ, LEAST_LINES, CarrierSeen
from services.airshark.analysis.found import Device, Found
from services.airshark.analysis.scene import Scene
from services.airshark.analysis.spacing import stretched

FAR_OFF_MHZ = 3.0
SOUND_MHZ, OVERTONES_MHZ, SOUND_BELOW_DB = (5.0, 7.2), (3.0, 14.5), 8.0
"""Where the sound is, and where its overtones are, and how much weaker at least: two cameras are 18 MHz
apart."""
COLOUR_MHZ, COLOUR_BELOW_DB = (3.3, 5.0), 15.0
"""NTSC has it 3.58 MHz from the carrier, PAL 4.43 MHz."""
MIRRORED_MHZ, MIRRORED_DB = 0.5, 5.0
"""How well both sides of a picture agree."""
ONE_SIDED_DB, VIEW_BORDER_MHZ = 10.0, 1.0
"""What is so much stronger than the other side is no sound, if that is so far within a view."""


def is_sideband(carrier: CarrierSeen, picture: CarrierSeen, carriers: list[CarrierSeen]) -> bool:
    """Tells whether a carrier is the sound of a picture or its colour: it moves with the lines of that, or is
    on one side of it what another one, as strong, is on the other."""
    off_mhz = abs(carrier.frequency_mhz - picture.frequency_mhz)
    if picture.power_dbm < carrier.power_dbm + SOUND_BELOW_DB or not _in(off_mhz, OVERTONES_MHZ):
        return False
    with_lines = picture.may_be_picture and carrier.line_share > LEAST_LINES
    return with_lines or _is_sound(carrier, picture, carriers)


def _is_sound(carrier: CarrierSeen, picture: CarrierSeen, carriers: list[CarrierSeen]) -> bool:
    """Tells whether a carrier is on one side of a picture what another one, as strong, is on the other."""
    off_mhz = abs(carrier.frequency_mhz - picture.frequency_mhz)
    weaker = picture.power_dbm >= carrier.power_dbm + SOUND_BELOW_DB
    return weaker and _in(off_mhz, SOUND_MHZ) and _mirrored(carrier, picture, carriers)


def _mirrored(carrier: CarrierSeen, picture: CarrierSeen, carriers: list[CarrierSeen]) -> bool:
    other_mhz = 2 * picture.frequency_mhz - carrier.frequency_mhz
    return any(
        abs(each.frequency_mhz - other_mhz) < MIRRORED_MHZ
        and abs(each.power_dbm - carrier.power_dbm) < MIRRORED_DB
        for each in carriers
    )


def has_sound(carrier: CarrierSeen, scene: Scene) -> bool:
    """Tells whether two other carriers are on both sides of one as only the sound of a picture is."""
    return any(_is_sound(each, carrier, scene.carriers) for each in scene.carriers)


def _in(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] < value < bounds[1]


def off_cameras_mhz(carrier: CarrierSeen, ratio: float) -> float:
    """Returns how far a carrier is from where a camera may be, whether bins lie so many times as far apart or
    not."""
    places = (carrier.frequency_mhz, stretched(carrier.frequency_mhz, carrier.centre_mhz, ratio))
    off_mhz = min(abs(place - each) for place in places for each in CAMERAS_MHZ)
    return min(off_mhz, FAR_OFF_MHZ)


def without_parts(found: list[Found], scene: Scene) -> list[Found]:
    """Leaves out what is part of a picture: its sound, 5.5 to 6.5 MHz from it, its colour, 3.6 or 4.4 MHz
    from it, and weaker pictures beside it, which are that sound and its overtones. A phone with a carrier
    elsewhere is none, and what is far stronger than the other side of the picture is no sound of it."""
    pictures = [each for each in found if each.device is Device.ANALOG_VIDEO]

    def is_part(one: Found) -> bool:
        sound = OVERTONES_MHZ if one.device is Device.ANALOG_VIDEO else SOUND_MHZ
        places = {one.center_mhz, one.features.get("second_mhz", one.center_mhz)}
        return any(
            all(reach[0] < abs(place - each.center_mhz) < reach[1] for place in places)
            and one.rssi_dbm < each.rssi_dbm - below_db
            and one.rssi_dbm < usual_dbm(scene, 2 * each.center_mhz - one.center_mhz) + ONE_SIDED_DB
            for each in pictures
            for reach, below_db in ((sound, SOUND_BELOW_DB), (COLOUR_MHZ, COLOUR_BELOW_DB))
        )

    return [each for each in found if not is_part(each)]


def usual_dbm(scene: Scene, frequency_mhz: float) -> float:
    """Returns how strong some place of the band usually is; infinite if no view shows it."""
    shown = []
    for centre in scene.air.channels:
        off_mhz = scene.air.bins_mhz(centre) - frequency_mhz
        if off_mhz[0] < -VIEW_BORDER_MHZ and off_mhz[-1] > VIEW_BORDER_MHZ:
            shown.append(float(scene.level[centre].usual_dbm[np.abs(off_mhz) < VIEW_BORDER_MHZ].max()))
    return max(shown, default=float("inf"))
