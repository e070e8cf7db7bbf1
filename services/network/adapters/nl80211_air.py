"""Reads what nl80211 tells of the air: how busy channels are, and which access points are heard."""

from services.network.adapters.netlink_attributes import mac, s8, s32, table, told, u16, u32, u64
from services.network.domain.stations import ChannelSurvey, HeardAccessPoint, Security

BSS, SURVEY_INFO = 47, 84


def survey(data: bytes) -> ChannelSurvey | None:
    """Reads how busy a channel was."""
    a = table(table(data).get(SURVEY_INFO, b""))
    if 1 not in a:
        return None
    return ChannelSurvey(
        frequency_mhz=u32(a[1]),
        noise_dbm=told(a, 2, s8),
        in_use=3 in a,
        active_ms=told(a, 4, u64),
        busy_ms=told(a, 5, u64),
        ext_busy_ms=told(a, 6, u64),
        rx_ms=told(a, 7, u64),
        tx_ms=told(a, 8, u64),
        scan_ms=told(a, 9, u64),
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
        seen_ago_ms=told(a, 10, u32),
        beacon_interval_tu=told(a, 4, u16),
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
