"""Reads what nl80211 tells of radios: what they can do, and on which channels."""

from services.network.adapters.netlink_attributes import attributes, table, text, u16, u32
from services.network.adapters.nl80211_decode import AP_MODE, MODES, WIPHY, WIPHY_NAME, name_of
from services.network.domain.stations import Capabilities, Channel, channel_number

WIPHY_BANDS, SUPPORTED_IFTYPES, SUPPORTED_COMMANDS = 22, 32, 50
INTERFACE_COMBINATIONS, MAC_ACL_MAX = 120, 167
COMMAND_CHANNEL_SWITCH = 102


def wiphys(messages: list[bytes]) -> list[Capabilities]:
    """Joins the parts of the radios' descriptions, which the kernel sends in many messages."""
    parts: dict[int, list[bytes]] = {}
    for data in messages:
        parts.setdefault(u32(table(data).get(WIPHY, b"")), []).append(data)
    return [_capabilities(index, data) for index, data in sorted(parts.items())]


def _capabilities(index: int, messages: list[bytes]) -> Capabilities:
    merged: dict[int, bytes] = {}
    bands: dict[int, dict[int, bytes]] = {}
    channels: dict[int, Channel] = {}
    for data in messages:
        for kind, value in attributes(data):
            if kind != WIPHY_BANDS:
                merged.setdefault(kind, value)
                continue
            for number, band in attributes(value):
                for part, content in attributes(band):
                    bands.setdefault(number, {}).setdefault(part, content)
                    if part == 1:
                        for _, frequency in attributes(content):
                            read = _channel(frequency)
                            if read.number:  # Below are the bands of sensors.
                                channels[read.frequency_mhz] = read
    per_type = [table(entry) for band in bands.values() for _, entry in attributes(band.get(9, b""))]
    commands = {u32(value) for _, value in attributes(merged.get(SUPPORTED_COMMANDS, b""))}
    return Capabilities(
        phy=text(merged.get(WIPHY_NAME, b"")),
        index=index,
        modes=frozenset(name_of(MODES, kind) for kind, _ in attributes(merged.get(SUPPORTED_IFTYPES, b""))),
        channels=tuple(channels[frequency] for frequency in sorted(channels)),
        ht=any(4 in band for band in bands.values()),
        vht=any(8 in band for band in bands.values()),
        he=any(2 in entry for entry in per_type),
        eht=any(8 in entry for entry in per_type),
        ht_capabilities=max((u16(band.get(4, b"")) for band in bands.values()), default=0),
        vht_capabilities=max((u32(band.get(8, b"")) for band in bands.values()), default=0),
        max_access_points=_max_access_points(merged.get(INTERFACE_COMBINATIONS, b"")),
        max_acl_entries=u32(merged.get(MAC_ACL_MAX, b"")),
        channel_switch=COMMAND_CHANNEL_SWITCH in commands,
    )


def _channel(data: bytes) -> Channel:
    a = table(data)
    frequency_mhz = u32(a.get(1, b""))
    return Channel(
        number=channel_number(frequency_mhz),
        frequency_mhz=frequency_mhz,
        disabled=2 in a,
        no_initiate=3 in a,
        radar=5 in a,
        max_power_dbm=u32(a.get(6, b"")) / 100,
    )


def _max_access_points(data: bytes) -> int:
    """Returns how many access points fit on the radio at once; 1 if it says nothing."""
    most = 1
    for _, combination in attributes(data):
        a = table(combination)
        for _, limit in attributes(a.get(1, b"")):
            values = table(limit)
            if any(kind == AP_MODE for kind, _ in attributes(values.get(2, b""))):
                most = max(most, min(u32(values.get(1, b"")), u32(a.get(2, b""))))
    return most
