"""Gives chutes interfaces, subnets and radios: pure functions from what is there to what will be."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network

from services.common.errors import AlreadyExists, DomainError, FailedPrecondition
from services.network.domain.access_points import Radio
from services.network.domain.addresses import free_subnet
from services.network.domain.errors import network_invalid, nl80211_unavailable, radio_not_available
from services.network.domain.facts import Facts
from services.network.domain.model import Network, Wanted
from services.network.domain.naming import access_point_name, vlan_name
from services.network.domain.ports import LinkState


@dataclass(frozen=True, slots=True)
class HostUse:
    """What the host itself has taken."""

    access_points: Mapping[str, int] = field(default_factory=dict)
    """Id of a radio to how many access points of the host it carries."""
    exclusive: Collection[str] = ()
    """Ids of radios that are used for something else altogether."""
    interfaces: Collection[str] = ()


def allocate(
    chute: str, wanted: Sequence[Wanted], present: Iterable[Network], facts: Facts, use: HostUse
) -> tuple[Network, ...]:
    """Returns the networks a chute gets.

    `present` are the networks of all chutes; what this chute has already keeps its addresses and names as
    far as it still fits. Raises a DomainError that names what cannot be had.
    """
    everything = list(present)
    mine = {network.name: network for network in everything if network.chute == chute}
    others = [network for network in everything if network.chute != chute]
    _refuse_repeated(wanted)
    given: list[Network] = []
    for request in _firm_first(wanted, mine):
        before = mine.get(request.name)
        if before is not None and before.wanted.type != request.type:
            before = None
        given.append(_one(chute, request, before, [*others, *given], facts, use))
    order = [request.name for request in wanted]
    return tuple(sorted(given, key=lambda network: order.index(network.name)))


def _firm_first(wanted: Sequence[Wanted], mine: Mapping[str, Network]) -> list[Wanted]:
    """What insists on a subnet, and what has one, comes before what takes any."""
    return sorted(wanted, key=lambda request: (request.subnet is None, request.name not in mine))


def _refuse_repeated(wanted: Sequence[Wanted]) -> None:
    for name, count in Counter(request.name for request in wanted).items():
        if count > 1:
            raise network_invalid(f"interfaces.{name} is there twice; rename one.", f"interfaces.{name}")
    sections = {request.section for request in wanted if request.section and request.section != request.name}
    for name in sections.intersection(request.name for request in wanted):
        raise network_invalid(
            f"interfaces.{name}: this name stands for two networks of the chute.", f"interfaces.{name}"
        )


def _one(
    chute: str, request: Wanted, before: Network | None, others: Sequence[Network], facts: Facts, use: HostUse
) -> Network:
    radio = None
    if request.type in ("wifi-ap", "wifi-monitor"):
        radio = _radio(request, before, others, facts, use)
    interface = _interface(chute, request, before, others, facts, use, radio)
    return Network(
        chute=chute,
        wanted=request,
        interface=interface,
        subnet=_subnet(request, before, others, facts) if request.has_subnet else None,
        radio=radio.id if radio else None,
        phy=radio.phy if radio else None,
        radio_mac=radio.mac if radio else "",
    )


def _radio(
    request: Wanted, before: Network | None, others: Sequence[Network], facts: Facts, use: HostUse
) -> Radio:
    if request.type == "wifi-monitor" and not facts.monitor_allowed:
        raise FailedPrecondition(
            "This node does not give radios to chutes for monitoring; set PARADROP_ALLOW_MONITOR_MODE=1.",
            reason="MONITOR_MODE_NOT_ALLOWED",
        )
    if not facts.radios:
        raise _no_radio(request, facts)
    loads = Counter(use.access_points)
    taken = set(use.exclusive)
    for network in others:
        carrier = facts.radio_of(network)
        if carrier is not None:
            loads[carrier.id] += 1
            if network.wanted.type == "wifi-monitor":
                taken.add(carrier.id)
    fitting = [radio for radio in facts.radios if _fits(request, facts, radio)]
    if request.type == "wifi-monitor":
        free = [radio for radio in fitting if not loads[radio.id] and radio.id not in taken]
    else:
        free = [r for r in fitting if r.id not in taken and loads[r.id] < facts.room(r)]
    kept = facts.radio_of(before) if before is not None else None
    if kept in free:
        return kept
    if not free:
        why = "each radio that fits is used to capacity" if fitting else "none is set up as it asks for"
        raise radio_not_available(request.name, why)
    return min(free, key=lambda radio: (not loads[radio.id], radio.id))


def _no_radio(request: Wanted, facts: Facts) -> DomainError:
    if facts.radios_missing is not None:
        return nl80211_unavailable(str(facts.radios_missing.facts.get("why", "it does not answer")))
    return radio_not_available(request.name, "this machine has none")


def _fits(request: Wanted, facts: Facts, radio: Radio) -> bool:
    entry = facts.entry(radio)
    known = {"device": radio.id, "band": "5" if entry.get("hwmode") == "11a" else "2.4", **entry}
    return all(str(known.get(key)) == str(value) for key, value in request.device.items())


def _interface(
    chute: str,
    request: Wanted,
    before: Network | None,
    others: Sequence[Network],
    facts: Facts,
    use: HostUse,
    radio: Radio | None,
) -> str:
    taken = {*use.interfaces, *(network.interface for network in others)}
    if request.type == "wifi-ap":
        if before is not None and before.interface not in taken:
            return before.interface
        # A link of another's making may have the very name.
        foreign = {name for name, link in facts.links.items() if link.owner is None}
        return access_point_name(chute, request.name, taken | foreign)
    if request.type == "vlan":
        return _vlan(request, taken, facts)
    if request.type == "lan":
        return _wired(request, before, taken, facts)
    if radio is None or radio.interface is None:
        raise radio_not_available(request.name, "the radio has no interface now")
    return radio.interface


def _vlan(request: Wanted, taken: Collection[str], facts: Facts) -> str:
    name = vlan_name(request.vlan_id or 0)
    used = {vlan["id"] for vlan in facts.document.get("vlan-interfaces", ())}
    if name in taken or request.vlan_id in used:
        raise AlreadyExists(
            f"VLAN {request.vlan_id} is in use; choose another vlan_id for {request.name}.",
            reason="VLAN_TAKEN",
            vlan_id=str(request.vlan_id),
            network=request.name,
        )
    if not facts.managed:
        raise FailedPrecondition(
            "VLANs need the bridge br-lan, and this node leaves the host's own interfaces alone; "
            "set PARADROP_HOST_NETWORK=managed.",
            reason="HOST_NOT_MANAGED",
        )
    return name


def _wired(request: Wanted, before: Network | None, taken: Collection[str], facts: Facts) -> str:
    bridged = facts.document["lan"].get("interfaces", ()) if facts.managed else ()
    wish = request.device.get("device")
    used = (facts.wan, facts.uplink, *taken, *bridged)
    free = [
        link.name
        for link in facts.links.values()
        if link.name not in used and (_is_socket(link) if wish is None else _may_be_given(link, wish))
    ]
    if before is not None and before.interface in free:
        return before.interface
    if not free:
        raise FailedPrecondition(
            f"No wired interface is free for {request.name}; take one out of lan.interfaces in the host "
            "configuration, or remove a chute that has one.",
            reason="INTERFACE_TAKEN",
            network=request.name,
        )
    return min(free)


def _is_socket(link: LinkState) -> bool:
    return link.physical and not link.wireless


def _may_be_given(link: LinkState, wish: str) -> bool:
    """Whoever names an interface may also have one that is no socket, such as the end of a tunnel."""
    free = link.owner is None and link.master is None and not link.wireless and link.name != "lo"
    return link.name == wish and free


def _subnet(request: Wanted, before: Network | None, others: Sequence[Network], facts: Facts) -> IPv4Network:
    chutes = [network.subnet for network in others if network.subnet is not None]
    taken = [*chutes, *facts.foreign_subnets()]
    if request.subnet is not None:
        for other in taken:
            if request.subnet.overlaps(other):
                raise AlreadyExists(
                    f"The subnet {request.subnet} of {request.name} overlaps {other}, which is in use; "
                    "choose another ipv4_network.",
                    reason="SUBNET_TAKEN",
                    subnet=str(request.subnet),
                    other=str(other),
                )
        return request.subnet
    if before is not None and before.subnet is not None and not any(map(before.subnet.overlaps, taken)):
        return before.subnet
    return free_subnet(facts.pool, facts.prefix, taken)
