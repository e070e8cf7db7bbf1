"""What an access point and its radio look like, whichever program makes them."""

from dataclasses import dataclass, field
from typing import Literal

Encryption = Literal[
    "none", "psk", "psk2", "psk-mixed", "sae", "sae-mixed", "wpa", "wpa2", "wpa-mixed", "wpa3"
]
"""As UCI names them: psk is WPA, psk2 WPA2, sae WPA3, sae-mixed both; wpa* are RADIUS (enterprise)."""
ENCRYPTIONS: tuple[Encryption, ...] = (
    "none", "psk", "psk2", "psk-mixed", "sae", "sae-mixed", "wpa", "wpa2", "wpa-mixed", "wpa3",
)  # fmt: skip
MAX_ACCESS_POINTS_PER_RADIO = 8


@dataclass(frozen=True, slots=True)
class RadioConfig:
    """How a radio is run; the same for all access points on it."""

    phy: str
    """Name of the kernel, such as "phy0"."""
    hwmode: Literal["11a", "11b", "11g"] = "11g"
    """11a is 5 GHz, the others 2.4 GHz."""
    channel: int = 1
    htmode: str = "NONE"
    """"NONE", "HT20", "HT40+", "HT40-", "VHT20", "VHT40", "VHT80" …"""
    country: str | None = None
    """Two letters of ISO 3166."""
    beacon_int_tu: int | None = None
    rts_bytes: int | None = None
    frag_bytes: int | None = None
    tx_stbc: int = 0
    rx_stbc: int = 0
    short_gi_20: bool = False
    short_gi_40: bool = False
    short_gi_80: bool = False
    ldpc: bool = False


@dataclass(frozen=True, slots=True)
class RadiusServer:
    """A RADIUS server, for enterprise encryption or for accounting."""

    address: str
    """IP address."""
    port: int
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bss:
    """What an access point is like for its stations: a basic service set (BSS)."""

    ssid: str
    """1 to 32 bytes of UTF-8."""
    encryption: Encryption = "none"
    key: str | None = field(default=None, repr=False)
    """Passphrase of 8 to 63 characters, or 64 hexadecimal digits."""
    hidden: bool = False
    isolate: bool = False
    """Whether stations cannot reach each other."""
    max_stations: int | None = None
    nasid: str | None = None
    auth_server: RadiusServer | None = None
    acct_server: RadiusServer | None = None
    acct_interval_s: int | None = None


@dataclass(frozen=True, slots=True)
class AccessPointConfig:
    """One access point, and where it is.

    Every value was checked by `services.network.domain.requests`; adapters refuse again what could not stand
    on one line of a configuration file.
    """

    interface: str
    """Name of the host's interface, such as "vwlan7e1b"; at most 15 characters."""
    radio: RadioConfig
    bss: Bss
    bridge: str | None = None
    """Bridge that the interface belongs to, such as "br-lan"."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a part works, and why not."""

    ok: bool
    reason: str = ""
    """Stable UPPER_SNAKE name, such as HOSTAPD_NOT_INSTALLED; empty if it works."""
    message: str = ""
    """One sentence that says what to do; empty if it works."""


@dataclass(frozen=True, slots=True)
class Radio:
    """A radio of this machine as the kernel tells it."""

    phy: str
    """Name of the kernel, such as "phy0"."""
    id: str
    """Stable name such as "pci-wifi-0"; counted by the sorted slots of a bus."""
    mac: str
    """Lower case with colons."""
    interface: str | None
    """Its primary interface, such as "wlan0"; None if there is none now."""
    slot: str = ""
    """Such as "pci/0000:04:00.0"."""
    vendor_id: str = ""
    device_id: str = ""
    """Such as "0x168c"; empty if the bus does not tell."""
    channels_2g: tuple[int, ...] = ()
    channels_5g: tuple[int, ...] = ()
    """Channels on which an access point may begin to send."""
    ht: bool = False
    vht: bool = False
    max_access_points: int = 1
