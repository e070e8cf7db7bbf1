"""The refusals that several parts of the domain give, each worded once."""

from collections.abc import Sequence

from services.common.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from services.network.domain.violation import Violation

DEFAULT_ROUTE_TAKEN = "DEFAULT_ROUTE_TAKEN"


def chute_not_found(chute: str) -> NotFound:
    """The chute is not installed."""
    return NotFound(
        f"No chute found with name: {chute}. List the chutes with GET /api/v1/chutes.",
        reason="CHUTE_NOT_FOUND",
        chute=chute,
    )


def chute_not_yours(chute: str) -> PermissionDenied:
    """The caller does not own the chute."""
    return PermissionDenied(
        f"You do not have permission to access chute {chute}; ask its owner or an administrator.",
        reason="CHUTE_NOT_YOURS",
        chute=chute,
    )


def network_not_found(chute: str, network: str) -> NotFound:
    """The chute has no such network now."""
    return NotFound(
        f"Chute {chute} has no network named {network}; list them with GET /api/v1/chutes/{chute}/networks.",
        reason="NETWORK_NOT_FOUND",
        chute=chute,
        network=network,
    )


def network_invalid(message: str, field: str) -> InvalidArgument:
    """A network asks for something that cannot be."""
    return InvalidArgument(message, reason="NETWORK_INVALID", field=field)


def hostapd_unavailable(interface: str, why: str) -> Unavailable:
    """No hostapd serves the interface now; `why` is a whole clause such as "hostapd is not installed"."""
    return Unavailable(
        f"No access point runs on {interface}: {why}.", reason="HOSTAPD_UNAVAILABLE", interface=interface
    )


def dnsmasq_unavailable(interface: str, why: str) -> Unavailable:
    """No dnsmasq serves the interface now."""
    return Unavailable(
        f"No DHCP server runs on {interface}: {why}.", reason="DNSMASQ_UNAVAILABLE", interface=interface
    )


def nl80211_unavailable(why: str) -> FailedPrecondition:
    """The kernel offers no wireless interface."""
    return FailedPrecondition(
        f"The kernel's wireless interface (nl80211) cannot be used: {why}.",
        reason="NL80211_UNAVAILABLE",
        why=why,
    )


def radio_not_available(wanted: str, why: str) -> FailedPrecondition:
    """No radio can do what is asked for."""
    return FailedPrecondition(
        f"No radio is available for {wanted}: {why}.", reason="RADIO_NOT_AVAILABLE", wanted=wanted
    )


def default_route_taken(interface: str) -> FailedPrecondition:
    """Another interface than the one that is asked for is the way out."""
    return FailedPrecondition(
        f"The default route leads over {interface}; remove it, or name {interface} as the uplink.",
        reason=DEFAULT_ROUTE_TAKEN,
        interface=interface,
    )


def permission_missing(what: str) -> FailedPrecondition:
    """The service may not change the kernel's networks."""
    return FailedPrecondition(
        f"The network service may not {what}; run the node as root or give it CAP_NET_ADMIN.",
        reason="NETWORK_PERMISSION_MISSING",
        what=what,
    )


def host_config_invalid(violations: Sequence[Violation]) -> InvalidArgument:
    """The document cannot be put into force."""
    first = violations[0]
    more = f" There are {len(violations) - 1} more places." if len(violations) > 1 else ""
    return InvalidArgument(
        f"The host configuration is wrong: {first.field or 'the document'} {first.description}{more}",
        reason="HOST_CONFIG_INVALID",
        field=f"config.{first.field}" if first.field else "config",
        violations=tuple((f"config.{v.field}" if v.field else "config", v.description) for v in violations),
    )
