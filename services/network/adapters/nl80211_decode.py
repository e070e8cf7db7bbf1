"""Reads what nl80211 tells of stations and interfaces into typed values.

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
    told,
    u8,
    u16,
    u32,
    u64,
)
from services.network.domain.stations import (
    BssParameters,
    Rate,
    StationFlags,
    StationInfo,
    WirelessInterface,
)

WIPHY, WIPHY_NAME, IFINDEX, IFNAME, IFTYPE, MAC = 1, 2, 3, 4, 5, 6
STA_INFO, WIPHY_FREQ, SSID, TX_POWER_MBM, CHANNEL_WIDTH = 21, 38, 52, 98, 159

MODES = (
    "unspecified", "IBSS", "managed", "AP", "AP/VLAN", "WDS", "monitor", "mesh point", "P2P-client", "P2P-GO",
    "P2P-device", "OCB", "NAN",
)  # fmt: skip
WIDTHS = ("20 MHz (no HT)", "20 MHz", "40 MHz", "80 MHz", "80+80 MHz", "160 MHz", "5 MHz", "10 MHz")
AP_MODE, MONITOR_MODE = 3, 6

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
            streams=told(a, 20, u8),
            guard_interval=told(a, 21, u8),
            ru_alloc=told(a, 22, u8),
        )
    if 13 in a:
        he = replace(plain, mode="HE", mcs=u8(a[13]), streams=told(a, 14, u8), guard_interval=told(a, 15, u8))
        return replace(he, dcm=told(a, 16, u8), ru_alloc=told(a, 17, u8))
    if 6 in a:
        return replace(plain, mode="VHT", mcs=u8(a[6]), streams=told(a, 7, u8))
    if 2 in a:
        return replace(plain, mode="HT", mcs=u8(a[2]))
    return plain


def _width(a: dict[int, bytes]) -> tuple[int, bool]:
    """Returns the width in MHz, and whether it lies in two halves."""
    for kind, width_mhz in ((18, 320), (10, 160), (9, 160), (8, 80), (3, 40), (11, 10), (12, 5)):
        if kind in a:
            return width_mhz, kind == 9
    return 20, False


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
        dtim_period=told(a, 4, u8),
        beacon_interval_tu=told(a, 5, u16),
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
        mode=name_of(MODES, u32(a.get(IFTYPE, b""))),
        mac=mac(a.get(MAC, b"")),
        ssid=a.get(SSID),
        frequency_mhz=told(a, WIPHY_FREQ, u32),
        width=name_of(WIDTHS, u32(a[CHANNEL_WIDTH])) if CHANNEL_WIDTH in a else None,
        tx_power_dbm=s32(a[TX_POWER_MBM]) / 100 if TX_POWER_MBM in a else None,
    )


def name_of(names: tuple[str, ...], number: int) -> str:
    """Returns the name that a number of the kernel has; the number itself if it has none."""
    return names[number] if number < len(names) else str(number)
