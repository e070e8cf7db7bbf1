"""Generates a host configuration for the hardware that is present."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.network.domain.access_points import Radio
from services.network.domain.addresses import POOL
from services.network.domain.ports import LinkState

ESSID = "Paradrop"
CHANNELS_5G = (36, 40, 44, 48, 149, 153, 157, 161, 165)
CHANNELS_2G = (1, 6, 11)
LAN_ADDRESS, LAN_NETMASK, LAN_NETWORK = "10.0.0.1", "255.255.255.0", "10.0.0.0/24"


def generate(links: Mapping[str, LinkState], uplink: str | None, radios: Sequence[Radio]) -> dict[str, Any]:
    """Returns a whole document; `uplink` is the interface of the default route."""
    wired = [link for link in links.values() if link.physical and not link.wireless]
    wifi = _wifi(radios, min((link.mac for link in wired), default=""))
    document: dict[str, Any] = {
        "firewall": {"defaults": _verdicts()},
        "lan": _lan(sorted(link.name for link in wired if link.name != uplink)),
        "wifi": wifi,
        "wifi-interfaces": [
            {"device": radio["id"], "ssid": ESSID, "mode": "ap", "network": "lan"} for radio in wifi[:1]
        ],
        "system": {
            "autoUpdate": True,
            "chuteSubnetPool": str(POOL),
            "chutePrefixSize": 24,
            "onMissingWiFi": "warn" if radios else None,
        },
        "telemetry": {"enabled": True, "interval": 60},
        "zerotier": {"enabled": True, "networks": []},
    }
    if uplink is not None:
        document["wan"] = _wan(uplink)
    return document


def _lan(interfaces: Sequence[str]) -> dict[str, Any]:
    return {
        "interfaces": interfaces,
        "proto": "static",
        "ipaddr": LAN_ADDRESS,
        "netmask": LAN_NETMASK,
        "dhcp": {"start": 100, "limit": 100, "leasetime": "12h"},
        "firewall": {
            "defaults": {"conntrack": "1", **_verdicts()},
            "forwarding": [{"src": "lan", "dest": "wan"}],
        },
    }


def _wan(interface: str) -> dict[str, Any]:
    defaults = {"conntrack": "1", "masq": "1", **_verdicts(), "masq_src": [LAN_NETWORK, str(POOL)]}
    return {"interface": interface, "proto": "dhcp", "firewall": {"defaults": defaults}}


def _verdicts() -> dict[str, str]:
    return dict.fromkeys(("input", "output", "forward"), "ACCEPT")


def _wifi(radios: Sequence[Radio], seed_mac: str) -> list[dict[str, Any]]:
    """Spreads the radios over the bands, and nodes over the channels by their addresses."""
    seed = int(seed_mac.replace(":", "") or "0", 16)
    entries: list[dict[str, Any]] = []
    counts = {"11a": 0, "11g": 0}
    want = "11a"
    for radio in sorted(radios, key=lambda radio: radio.id):
        five, two = _usable(CHANNELS_5G, radio.channels_5g), _usable(CHANNELS_2G, radio.channels_2g)
        if not five and not two:
            continue
        hwmode = want if (five if want == "11a" else two) else ("11a" if five else "11g")
        channels = five if hwmode == "11a" else two
        entry: dict[str, Any] = {
            "id": radio.id,
            "hwmode": hwmode,
            "channel": channels[(seed + counts[hwmode]) % len(channels)],
            # The portal's page of settings fails without a text here.
            "htmode": "VHT20" if radio.vht and hwmode == "11a" else "HT20" if radio.ht else "NONE",
        }
        counts[hwmode] += 1
        want = "11g" if hwmode == "11a" else "11a"
        entries.append(entry)
    return entries


def _usable(preferred: Sequence[int], allowed: Sequence[int]) -> list[int]:
    return [channel for channel in preferred if channel in allowed] or list(allowed)
