"""Stations, radios and what is on the air, as values with units."""

import re
from dataclasses import dataclass, field
from typing import Literal

from services.common.errors import InvalidArgument

Security = Literal["none", "wep", "wpa", "wpa2", "wpa3", "wpa2-wpa3", "enterprise"]
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def normal_mac(text: str, what: str = "mac") -> str:
    """Returns a hardware address in lower case with colons, or raises InvalidArgument (MAC_INVALID)."""
    mac = text.strip().lower().replace("-", ":")
    if not MAC.fullmatch(mac):
        raise InvalidArgument(
            "A hardware address has six pairs of hexadecimal digits, such as 5c:59:48:7d:b9:e6.",
            reason="MAC_INVALID",
            field=what,
        )
    return mac


@dataclass(frozen=True, slots=True)
class Rate:
    """The rate of a frame."""

    bits_per_s: int = 0
    """0 if the driver does not know."""
    mode: Literal["", "HT", "VHT", "HE", "EHT"] = ""
    """Empty for the rates of before 802.11n."""
    mcs: int | None = None
    streams: int | None = None
    """Spatial streams; None where the MCS says it (HT)."""
    width_mhz: int = 20
    is_80p80: bool = False
    short_gi: bool = False
    guard_interval: int | None = None
    """Of HE and EHT: 0 is 0.8 µs, 1 is 1.6 µs, 2 is 3.2 µs."""
    dcm: int | None = None
    ru_alloc: int | None = None


@dataclass(frozen=True, slots=True)
class StationFlags:
    """What a station has reached and can; None is what the driver does not tell."""

    authorized: bool | None = None
    authenticated: bool | None = None
    associated: bool | None = None
    short_preamble: bool | None = None
    wmm: bool | None = None
    mfp: bool | None = None
    tdls_peer: bool | None = None


@dataclass(frozen=True, slots=True)
class BssParameters:
    """How an access point speaks to a station; None is what the driver does not tell."""

    dtim_period: int | None = None
    beacon_interval_tu: int | None = None
    cts_protection: bool = False
    short_preamble: bool = False
    short_slot_time: bool = False


@dataclass(frozen=True, slots=True)
class StationInfo:
    """What the kernel tells about a station; None is what the driver does not tell."""

    mac: str
    inactive_ms: int | None = None
    rx_bytes: int | None = None
    rx_packets: int | None = None
    tx_bytes: int | None = None
    tx_packets: int | None = None
    tx_retries: int | None = None
    tx_failed: int | None = None
    beacon_loss: int | None = None
    beacon_rx: int | None = None
    rx_drop_misc: int | None = None
    signal_dbm: int | None = None
    chain_signal_dbm: tuple[int, ...] = ()
    signal_avg_dbm: int | None = None
    chain_signal_avg_dbm: tuple[int, ...] = ()
    beacon_signal_avg_dbm: int | None = None
    ack_signal_dbm: int | None = None
    ack_signal_avg_dbm: int | None = None
    tx_rate: Rate | None = None
    rx_rate: Rate | None = None
    tx_duration_us: int | None = None
    rx_duration_us: int | None = None
    airtime_weight: int | None = None
    expected_throughput_kbps: int | None = None
    flags: StationFlags = field(default_factory=StationFlags)
    bss: BssParameters | None = None
    connected_s: int | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel of a radio under the rules of the country it is in."""

    number: int
    frequency_mhz: int
    disabled: bool
    no_initiate: bool
    """Whether the radio may only send there after it heard another access point."""
    radar: bool
    max_power_dbm: float


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a radio can do, as the kernel tells it."""

    phy: str
    index: int
    modes: frozenset[str]
    """Of "managed", "AP", "monitor", "mesh" …"""
    channels: tuple[Channel, ...]
    ht: bool
    vht: bool
    he: bool
    eht: bool
    ht_capabilities: int
    vht_capabilities: int
    max_access_points: int
    max_acl_entries: int
    """Addresses that the driver itself can filter; 0 if hostapd has to do it."""
    channel_switch: bool
    """Whether an access point can announce that it changes the channel."""


@dataclass(frozen=True, slots=True)
class WirelessInterface:
    """An interface of a radio."""

    name: str
    index: int
    phy: int
    mode: str
    """"managed", "AP", "monitor" …"""
    mac: str
    ssid: bytes | None = None
    frequency_mhz: int | None = None
    width: str | None = None
    tx_power_dbm: float | None = None


@dataclass(frozen=True, slots=True)
class ChannelSurvey:
    """How busy a channel was; None is what the driver does not tell. Times are since the radio went there."""

    frequency_mhz: int
    in_use: bool = False
    noise_dbm: int | None = None
    active_ms: int | None = None
    busy_ms: int | None = None
    ext_busy_ms: int | None = None
    rx_ms: int | None = None
    tx_ms: int | None = None
    scan_ms: int | None = None


@dataclass(frozen=True, slots=True)
class HeardAccessPoint:
    """An access point that a scan heard."""

    bssid: str
    frequency_mhz: int
    ssid: bytes
    """Empty if it hides its name."""
    signal_dbm: float | None
    seen_ago_ms: int | None
    beacon_interval_tu: int | None
    security: Security
    stations: int | None = None
    """How many stations it says it has."""
    utilisation: float | None = None
    """Part of the time for which it says its channel is busy, 0 to 1."""


def channel_number(frequency_mhz: int) -> int:
    """Returns the number of a channel, 0 if there is none at the frequency."""
    if frequency_mhz == 2484:
        return 14
    for low, high, base in ((2412, 2472, 2407), (5035, 5885, 5000), (5955, 7115, 5950)):
        if low <= frequency_mhz <= high and (frequency_mhz - base) % 5 == 0:
            return (frequency_mhz - base) // 5
    return 0


@dataclass(frozen=True, slots=True)
class StationLeft:
    """A station has left an access point."""

    interface: str
    last: StationInfo
    """Its last counters."""


@dataclass(frozen=True, slots=True)
class InterfaceGone:
    """An interface of a radio is gone."""

    interface: str


@dataclass(frozen=True, slots=True)
class RadioCame:
    """A radio was plugged in, or has come back from a container."""


KernelEvent = StationLeft | InterfaceGone | RadioCame
"""What the kernel tells of radios without being asked."""
