"""How good each Wi-Fi channel of the 2.4 GHz band is, by the devices that disturb it."""

from dataclasses import dataclass

from services.airshark.analysis.lifecycle import Track

CHANNELS: dict[int, float] = {number: 2407.0 + 5 * number for number in range(1, 14)}
HALF_WIDTH_MHZ = 10.0
CHOICES = (1, 6, 11)
WORST = 5
BLE_ADVERTISING_REACH_MHZ = 1.0


@dataclass(frozen=True)
class ChannelQuality:
    """One channel."""

    channel: int
    quality: int
    """100 for clean air."""
    interference_duty: float
    worst: tuple[Track, ...]
    """Strongest first, five at most."""


def channels_of(track: Track) -> list[int]:
    """Returns the Wi-Fi channels that a device hits."""
    reach = HALF_WIDTH_MHZ + max(track.bandwidth_mhz / 2, BLE_ADVERTISING_REACH_MHZ)
    return [number for number, centre in CHANNELS.items() if abs(centre - track.center_mhz) <= reach]


def quality_of(tracks: list[Track]) -> list[ChannelQuality]:
    """Returns the quality of all channels.

    Severities do not simply add up: each device takes its share of what the others leave.
    """
    active = [track for track in tracks if track.active]
    result = []
    for number in CHANNELS:
        here = sorted(
            (track for track in active if number in channels_of(track)), key=lambda each: -each.severity
        )
        left, silence = 1.0, 1.0
        for track in here:
            left *= 1 - track.severity / 100
            silence *= 1 - min(_duty_in_channel(track), 1.0)
        result.append(ChannelQuality(number, round(100 * left), 1 - silence, tuple(here[:WORST])))
    return result


def worst_of(qualities: list[list[ChannelQuality]]) -> list[ChannelQuality]:
    """Returns each channel as the radio has it that suffers most; one device that several hear counts
    once."""
    return [min(same, key=lambda each: each.quality) for same in zip(*qualities, strict=True)]


def _duty_in_channel(track: Track) -> float:
    if track.hops:
        return track.duty_cycle * min(1.0, 2 * HALF_WIDTH_MHZ / track.bandwidth_mhz)
    return track.duty_cycle


def recommended(qualities: list[ChannelQuality], busy: dict[int, float]) -> int:
    """Returns the channel to take among those that do not overlap: the best one, less its other traffic."""
    by_number = {each.channel: each for each in qualities}
    return max(CHOICES, key=lambda number: (by_number[number].quality - 50 * busy.get(number, 0.0), -number))
