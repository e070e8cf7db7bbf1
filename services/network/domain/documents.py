"""Turns networks into what is stored and back, and into what a chute's cache shows."""

from collections.abc import Mapping
from dataclasses import asdict
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from services.network.domain.access_points import Bss, RadiusServer
from services.network.domain.hostdiff import MASK
from services.network.domain.model import Dhcp, Network, PortForward, Wanted

MODES = {"wifi-ap": "ap", "wifi-monitor": "monitor"}


def to_document(network: Network) -> dict[str, Any]:
    """Returns what is stored of a network; keys included."""
    document: dict[str, Any] = _plain(asdict(network))
    return document


def from_document(document: Mapping[str, Any]) -> Network:
    """Returns what `to_document` described."""
    wanted = dict(document["wanted"])
    wireless, dhcp, subnet = wanted["wireless"], wanted["dhcp"], wanted["subnet"]
    return Network(
        **{
            **document,
            "subnet": _network(document["subnet"]),
            "wanted": Wanted(
                **{
                    **wanted,
                    "wireless": _wireless(wireless) if wireless else None,
                    "dhcp": _dhcp(dhcp) if dhcp else None,
                    "subnet": _network(subnet),
                    "ports": tuple(PortForward(**port) for port in wanted["ports"]),
                }
            ),
        }
    )


def to_cache(network: Network) -> dict[str, Any]:
    """Returns what a chute's cache says of a network, as Paradrop 0.13 names it; keys are masked."""
    wanted, host, chute = network.wanted, network.host_address, network.chute_address
    document: dict[str, Any] = {
        "name": network.name,
        "service": wanted.service,
        "type": wanted.type,
        "internalIntf": network.name,
        "externalIntf": network.interface,
        "l3bridge": None,
        "subnet": str(network.subnet) if network.subnet else None,
        "netmask": str(network.subnet.netmask) if network.subnet else None,
        "externalIpaddr": str(host.ip) if host else None,
        "internalIpaddr": str(chute.ip) if chute else None,
        "ipaddrWithPrefix": str(chute) if chute else None,
        "options": {},
    }
    if wanted.dhcp:
        document["dhcp"] = _dhcp_cache(wanted.dhcp)
    if wanted.type in MODES:
        document |= {"device": network.radio, "phy": network.phy, "mode": MODES[wanted.type]}
    if wanted.wireless:
        document |= _wireless_cache(wanted.wireless)
    return document


def _dhcp_cache(dhcp: Dhcp) -> dict[str, Any]:
    return {
        "lease": dhcp.lease_time,
        "start": dhcp.start,
        "limit": dhcp.limit,
        **({"dns": [str(server) for server in dhcp.dns]} if dhcp.dns else {}),
        **({"relay": str(dhcp.relay)} if dhcp.relay else {}),
    }


def _wireless_cache(wireless: Bss) -> dict[str, Any]:
    key = MASK if wireless.key else None
    common = {"ssid": wireless.ssid, "encryption": wireless.encryption}
    return {
        **common,
        "key": key,
        "wireless": {
            **common,
            "hidden": wireless.hidden,
            "isolate": wireless.isolate,
            **({"key": key} if key else {}),
            **({"maxassoc": wireless.max_stations} if wireless.max_stations is not None else {}),
        },
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, IPv4Address | IPv4Network) else value


def _network(text: str | None) -> IPv4Network | None:
    return IPv4Network(text) if text else None


def _wireless(document: Mapping[str, Any]) -> Bss:
    servers = {
        key: RadiusServer(**document[key]) if document[key] else None
        for key in ("auth_server", "acct_server")
    }
    return Bss(**{**document, **servers})


def _dhcp(document: Mapping[str, Any]) -> Dhcp:
    relay = document["relay"]
    return Dhcp(
        **{
            **document,
            "dns": tuple(map(IPv4Address, document["dns"])),
            "relay": IPv4Address(relay) if relay else None,
        }
    )
