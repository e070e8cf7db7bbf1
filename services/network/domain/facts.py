"""What has to be known of the machine and its configuration before a network can be given."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from services.common.errors import DomainError
from services.network.domain.access_points import MAX_ACCESS_POINTS_PER_RADIO, Radio, RadioConfig
from services.network.domain.addresses import automatic_pool
from services.network.domain.hostcheck import Document
from services.network.domain.model import Network
from services.network.domain.ports import LinkState


@dataclass(frozen=True, slots=True)
class Facts:
    """The machine as it is, and the host configuration in force."""

    document: Document
    links: Mapping[str, LinkState] = field(default_factory=dict)
    radios: Sequence[Radio] = ()
    radios_missing: DomainError | None = None
    """Why no radio can be listed."""
    uplink: str | None = None
    """Interface of the default route."""
    managed: bool = False
    """Whether the node manages the host's own interfaces."""
    monitor_allowed: bool = False

    @property
    def uplink_address(self) -> IPv4Address | None:
        """The node's address towards the network before it."""
        link = self.links.get(self.uplink or "")
        return link.addresses[0].ip if link and link.addresses else None

    @property
    def wan(self) -> str | None:
        """The uplink of the host configuration, else that of the default route."""
        wan = self.document.get("wan") or {}
        return wan.get("interface") or self.uplink

    @property
    def pool(self) -> IPv4Network:
        """Where the subnets of chutes come from."""
        text = self.document["system"].get("chuteSubnetPool", "auto")
        return automatic_pool(self.uplink_address) if text == "auto" else IPv4Network(text, strict=False)

    @property
    def prefix(self) -> int:
        """Size of a chute's subnet."""
        return int(self.document["system"].get("chutePrefixSize", 24))

    def foreign_subnets(self) -> Iterator[IPv4Network]:
        """Yields the networks that the host itself is in or will be in."""
        wan = self.document.get("wan") or {}
        for section in (self.document["lan"], wan, *self.document.get("vlan-interfaces", ())):
            if section.get("ipaddr") and section.get("netmask"):
                yield IPv4Network((section["ipaddr"], section["netmask"]), strict=False)
        for link in self.links.values():
            if link.owner is None:
                yield from (address.network for address in link.addresses)

    def radio(self, device: str) -> Radio | None:
        """Returns the radio with this id, MAC address, kernel name or interface."""
        wanted = device.lower()
        return next((r for r in self.radios if device in (r.id, r.phy, r.interface) or wanted == r.mac), None)

    def radio_of(self, network: Network) -> Radio | None:
        """Returns the radio of a chute's network, if it is there now; its id may be another than it was."""
        if not network.radio_mac:
            return self.radio(network.radio or "")
        return next((radio for radio in self.radios if radio.mac == network.radio_mac), None)

    def entry(self, radio: Radio) -> Mapping[str, Any]:
        """Returns the radio's entry in the host configuration; an empty one if it has none."""
        for entry in self.document.get("wifi", ()):
            if entry["id"] == radio.id or entry.get("macaddr", "").lower() == radio.mac:
                return dict(entry)
        return {}

    def radio_config(self, radio: Radio) -> RadioConfig:
        """Returns how the radio is run."""
        entry = self.entry(radio)
        five_ghz_only = bool(radio.channels_5g) and not radio.channels_2g
        hwmode = entry.get("hwmode", "11a" if five_ghz_only else "11g")
        channels = radio.channels_5g if hwmode == "11a" else radio.channels_2g
        return RadioConfig(
            phy=radio.phy,
            hwmode=hwmode,
            channel=int(entry.get("channel") or (channels[0] if channels else 1)),
            htmode=entry.get("htmode", "NONE"),
            country=entry.get("country"),
            beacon_int_tu=entry.get("beacon_int"),
            rts_bytes=entry.get("rts"),
            frag_bytes=entry.get("frag"),
            tx_stbc=int(entry.get("tx_stbc", 0)),
            rx_stbc=int(entry.get("rx_stbc", 0)),
            short_gi_20=bool(entry.get("short_gi_20")),
            short_gi_40=bool(entry.get("short_gi_40")),
            short_gi_80=bool(entry.get("short_gi_80")),
            ldpc=bool(entry.get("ldpc")),
        )

    def room(self, radio: Radio) -> int:
        """Returns how many access points the radio can carry."""
        return min(MAX_ACCESS_POINTS_PER_RADIO, radio.max_access_points)
