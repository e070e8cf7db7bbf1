"""Names of the host's interfaces, as Paradrop 0.13 has given them."""

from collections.abc import Collection

from services.network.domain.errors import network_invalid

MAX_INTERFACE_CHARACTERS = 15
AP_PREFIX = "vwlan"
HOST_BRIDGE = "br-lan"


def name_hash(text: str) -> int:
    """Returns the 16 bits by which access points are named: those of a string's hash in Python 2."""
    data = text.encode()
    if not data:
        return 0
    value = data[0] << 7
    for byte in data:
        value = (value * 1000003) ^ byte
    return (value ^ len(data)) & 0xFFFF


def access_point_name(chute: str, network: str, taken: Collection[str]) -> str:
    """Returns the host's name of a chute's access point; the next number if it is taken."""
    start = name_hash(f"{chute}:{network}")
    for step in range(0x10000):
        name = f"{AP_PREFIX}{(start + step) & 0xFFFF:04x}"
        if name not in taken:
            return name
    raise network_invalid("All 65536 names of access points are taken.", "interfaces")


def host_access_point_name(primary: str, taken: Collection[str]) -> str:
    """Returns the name of an access point of the host: the radio's own, then "v", it and a number."""
    if primary not in taken:
        return primary
    for number in range(0x10000):
        name = f"v{primary[:9]}.{number:04x}"
        if name not in taken:
            return name
    raise network_invalid(f"All names of access points on {primary} are taken.", "wifi-interfaces")


def side_door_name(interface: str) -> str:
    """Returns the name of the node's own macvlan over an interface."""
    name = f"m{interface}"
    return name if len(name) <= MAX_INTERFACE_CHARACTERS else f"m{interface[:10]}{name_hash(interface):04x}"


def vlan_name(vlan_id: int) -> str:
    """Returns the name of a VLAN of the host's bridge."""
    return f"{HOST_BRIDGE}.{vlan_id}"
