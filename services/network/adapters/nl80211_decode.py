"""Reads what nl80211 tells into typed values.

pyroute2 carries the messages, but gives some signed numbers as unsigned ones, leaves parts of scans and rates
as hexadecimal text and costs a millisecond for each station; so the attributes are read here. The numbers are
those of the kernel's linux/nl80211.h.
"""

from dataclasses import replace

from services.network.adapters.netlink_attributes import (
    attributes,
    mac,
    s8,
    s32,
    table,
    text,
    u8,
    u16,
    u32,
    u64,
)
from services.network.domain.stations import (
    BssParameters,
    Capabilities,
    Channel,
    ChannelSurvey,
    HeardAccessPoint,
    Rate,
    Security,
    StationFlags,
    StationInfo,
    WirelessInterface,
    channel_number,
)

WIPHY, WIPHY_NAME, IFINDEX, IFNAME, IFTYPE, MAC = 1, 2, 3, 4, 5, 6
STA_INFO, WIPHY_BANDS, SUPPORTED_IFTYPES, WIPHY_FREQ = 21, 22, 32, 38
BSS, SUPPORTED_COMMANDS, SSID, SURVEY_INFO, TX_POWER_MBM = 47, 50, 52, 84, 98
INTERFACE_COMBINATIONS, CHANNEL_WIDTH, MAC_ACL_MAX = 120, 159, 167
COMMAND_CHANNEL_SWITCH = 102

MODES = (
    "unspecified", "IBSS", "managed", "AP", "AP/VLAN", "WDS", "monitor", "mesh point", "P2P-client", "P2P-GO",
    "P2P-device", "OCB", "NAN",
)  # fmt: skip
WIDTHS = ("20 MHz (no HT)", "20 MHz", "40 MHz", "80 MHz", "80+80 MHz", "160 MHz", "5 MHz", "10 MHz")
AP_MODE = 3

_COUNTERS = {
    1: ("inactive_ms", u32), 2: ("rx_bytes", u32), 3: ("tx_bytes", u32), 7: ("signal_dbm", s8),
    9: ("rx_packets", u32), 10: ("tx_packets", u32), 11: ("tx_retries", u32), 12: ("tx_failed", u32),
    13: ("signal_avg_dbm", s8), 16: ("connected_s", u32), 18: ("beacon_loss", u32), 23: ("rx_bytes", u64),
    24: ("tx_bytes", u64), 27: ("expected_throughput_kbps", u32), 28: ("rx_drop_misc", u64),
    29: ("beacon_rx", u64), 30: ("beacon_signal_avg_dbm", s8), 32: ("rx_duration_us", u64),
    34: ("ack_signal_dbm", s8), 35: ("ack_signal_avg_dbm", s8), 39: ("tx_duration_us", u64),
    40: ("airtime_weight", u16),
}  # fmt: skip
"""Attribute of a station to field and reader; the 64-bit byte counters come after those of 32 bits."""


def station(data: bytes) -> StationInfo | None:
    """Reads a station from the attributes of a message."""
    message = table(data)
    if len(message.get(MAC, b"")) != 6:
        return None
    values: dict[str, object] = {"mac": mac(message[MAC])}
    for kind, value in attributes(message.get(STA_INFO, b"")):
        known = _COUNTERS.get(kind)
        if known is not None:
            values[known[0]] = known[1](value)
        elif kind == 8:
            values["tx_rate"] = rate(value)
        elif kind == 14:
            values["rx_rate"] = rate(value)
        elif kind == 15:
            values["bss"] = _bss_parameters(value)
        elif kind == 17:
            values["flags"] = _flags(value)
        elif kind == 25:
            values["chain_signal_dbm"] = tuple(s8(chain) for _, chain in attributes(value))
        elif kind == 26:
            values["chain_signal_avg_dbm"] = tuple(s8(chain) for _, chain in attributes(value))
    return StationInfo(**values)  # type: ignore[arg-type]  # The table above names the fields.


def rate(data: bytes) -> Rate:
    """Reads the rate of a frame."""
    a = table(data)
    width_mhz, is_80p80 = _width(a)
    plain = Rate(
        bits_per_s=(u32(a[5]) if 5 in a else u16(a.get(1, b""))) * 100_000,
        width_mhz=width_mhz,
        is_80p80=is_80p80,
        short_gi=4 in a,
    )
    if 19 in a:
        return replace(
            plain,
            mode="EHT",
            mcs=u8(a[19]),
            streams=_u8(a, 20),
            guard_interval=_u8(a, 21),
            ru_alloc=_u8(a, 22),
        )
    if 13 in a:
        he = replace(plain, mode="HE", mcs=u8(a[13]), streams=_u8(a, 14), guard_interval=_u8(a, 15))
        return replace(he, dcm=_u8(a, 16), ru_alloc=_u8(a, 17))
    if 6 in a:
        return replace(plain, mode="VHT", mcs=u8(a[6]), streams=_u8(a, 7))
    if 2 in a:
        return replace(plain, mode="HT", mcs=u8(a[2]))
    return plain


def _width(a: dict[int, bytes]) -> tuple[int, bool]:
    """Returns the width in MHz, and whether it lies in two halves."""
    for kind, width_mhz in ((18, 320), (10, 160), (9, 160), (8, 80), (3, 40), (11, 10), (12, 5)):
        if kind in a:
            return width_mhz, kind == 9
    return 20, False


def _u8(a: dict[int, bytes], kind: int) -> int | None:
    return u8(a[kind]) if kind in a else None


def _flags(data: bytes) -> StationFlags:
    mask, flags = u32(data[:4]), u32(data[4:])

    def flag(bit: int) -> bool | None:
        return bool(flags & 1 << bit) if mask & 1 << bit else None

    return StationFlags(
        authorized=flag(1),
        short_preamble=flag(2),
        wmm=flag(3),
        mfp=flag(4),
        authenticated=flag(5),
        tdls_peer=flag(6),
        associated=flag(7),
    )


def _bss_parameters(data: bytes) -> BssParameters:
    a = table(data)
    return BssParameters(
        cts_protection=1 in a,
        short_preamble=2 in a,
        short_slot_time=3 in a,
        dtim_period=_u8(a, 4),
        beacon_interval_tu=u16(a[5]) if 5 in a else None,
    )


def interface(data: bytes) -> WirelessInterface | None:
    """Reads an interface; None if it has no name, such as a device for P2P."""
    a = table(data)
    if IFNAME not in a or IFINDEX not in a:
        return None
    return WirelessInterface(
        name=text(a[IFNAME]),
        index=u32(a[IFINDEX]),
        phy=u32(a.get(WIPHY, b"")),
        mode=_name(MODES, u32(a.get(IFTYPE, b""))),
        mac=mac(a.get(MAC, b"")),
        ssid=a.get(SSID),
        frequency_mhz=u32(a[WIPHY_FREQ]) if WIPHY_FREQ in a else None,
        width=_name(WIDTHS, u32(a[CHANNEL_WIDTH])) if CHANNEL_WIDTH in a else None,
        tx_power_dbm=s32(a[TX_POWER_MBM]) / 100 if TX_POWER_MBM in a else None,
    )


def _name(names: tuple[str, ...], number: int) -> str:
    return names[number] if number < len(names) else str(number)


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
        modes=frozenset(_name(MODES, kind) for kind, _ in attributes(merged.get(SUPPORTED_IFTYPES, b""))),
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


def survey(data: bytes) -> ChannelSurvey | None:
    """Reads how busy a channel was."""
    a = table(table(data).get(SURVEY_INFO, b""))
    if 1 not in a:
        return None

    def time_ms(kind: int) -> int | None:
        return u64(a[kind]) if kind in a else None

    return ChannelSurvey(
        frequency_mhz=u32(a[1]),
        noise_dbm=s8(a[2]) if 2 in a else None,
        in_use=3 in a,
        active_ms=time_ms(4),
        busy_ms=time_ms(5),
        ext_busy_ms=time_ms(6),
        rx_ms=time_ms(7),
        tx_ms=time_ms(8),
        scan_ms=time_ms(9),
    )


def heard(data: bytes) -> HeardAccessPoint | None:
    """Reads an access point that a scan heard."""
    a = table(table(data).get(BSS, b""))
    if len(a.get(1, b"")) != 6:
        return None
    elements = _elements(a.get(6) or a.get(11, b""))
    load = elements.get(11, b"")
    return HeardAccessPoint(
        bssid=mac(a[1]),
        frequency_mhz=u32(a.get(2, b"")),
        ssid=elements.get(0, b"").strip(b"\0") and elements[0],
        signal_dbm=s32(a[7]) / 100 if 7 in a else None,
        seen_ago_ms=u32(a[10]) if 10 in a else None,
        beacon_interval_tu=u16(a[4]) if 4 in a else None,
        security=_security(elements, privacy=bool(u16(a.get(5, b"")) & 0x10)),
        stations=u16(load) if len(load) >= 5 else None,
        utilisation=load[2] / 255 if len(load) >= 5 else None,
    )


def _elements(data: bytes) -> dict[int, bytes]:
    """Returns information elements by number; vendor's WPA as -1."""
    found: dict[int, bytes] = {}
    offset = 0
    while offset + 2 <= len(data):
        number, length = data[offset], data[offset + 1]
        value = data[offset + 2 : offset + 2 + length]
        if len(value) < length:
            break
        if number == 221 and value.startswith(b"\x00\x50\xf2\x01"):
            number = -1
        found.setdefault(number, value)
        offset += 2 + length
    return found


def _security(elements: dict[int, bytes], privacy: bool) -> Security:
    suites = _key_management(elements.get(48, b""))
    if suites & {1, 3, 5, 11, 12}:
        return "enterprise"
    psk, sae = bool(suites & {2, 4, 6}), bool(suites & {8, 9, 24, 25})
    if sae:
        return "wpa2-wpa3" if psk else "wpa3"
    if psk or 48 in elements:
        return "wpa2"
    if -1 in elements:
        return "wpa"
    return "wep" if privacy else "none"


def _key_management(rsn: bytes) -> set[int]:
    """Returns the numbers of the AKM suites of an RSN element."""
    offset = 2 + 4
    offset += 2 + 4 * u16(rsn[offset : offset + 2])
    count = u16(rsn[offset : offset + 2])
    suites = (rsn[offset + 2 + 4 * i : offset + 6 + 4 * i] for i in range(min(count, 32)))
    return {suite[3] for suite in suites if len(suite) == 4 and suite[:3] == b"\x00\x0f\xac"}
