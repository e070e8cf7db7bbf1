"""Why a node has no connection to its controller."""

from dataclasses import dataclass

CREDENTIALS_REFUSED = "CREDENTIALS_REFUSED"
UNREACHABLE = "CONTROLLER_UNREACHABLE"
LOST = "LINK_LOST"

_MESSAGES = {
    UNREACHABLE: (
        "The controller at {address} does not answer; see that it runs and that the node has a way to it."
    ),
    LOST: "The connection to {address} ended; the node connects again by itself.",
    "CONTROLLER_INCOMPATIBLE": (
        "What answers at {address} is no controller of this kind; see the address and the port."
    ),
    "CONTROLLER_CERTIFICATE_UNTRUSTED": (
        "The certificate of {address} is not from an authority that this node trusts; put that authority's "
        "certificate at PARADROP_CONTROLLER_CA."
    ),
    "CONTROLLER_CERTIFICATE_EXPIRED": (
        "The certificate of {address} has ended or has not begun; renew it, and see that the node's clock is "
        "right."
    ),
    "CONTROLLER_CERTIFICATE_NAME_WRONG": (
        "The certificate of {address} is for another name; use the name that the certificate has."
    ),
    "NODE_CERTIFICATE_MISSING": (
        "The controller at {address} wants a certificate of the node; set PARADROP_CONTROLLER_CERT and "
        "PARADROP_CONTROLLER_KEY."
    ),
    "NODE_CERTIFICATE_EXPIRED": (
        "The node's own certificate for {address} has ended; put a new one at PARADROP_CONTROLLER_CERT."
    ),
    "NODE_CERTIFICATE_REFUSED": (
        "The controller at {address} does not trust the certificate of the node; have it signed by the "
        "authority that the controller trusts."
    ),
    "NODE_CERTIFICATE_UNUSABLE": (
        "The files at PARADROP_CONTROLLER_CA, PARADROP_CONTROLLER_CERT and PARADROP_CONTROLLER_KEY cannot be "
        "used; see that they are PEM files and that certificate and key belong together."
    ),
    CREDENTIALS_REFUSED: (
        "The controller at {address} does not know the id and token of this node; provision it with those "
        "that the controller shows."
    ),
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no connection, for programs and for people."""

    reason: str
    """One of those above: stable, in capitals."""
    message: str
    """What is the matter and what to do about it."""

    @classmethod
    def at(cls, address: str, reason: str) -> "Trouble":
        """Returns the trouble with a controller for one of the known reasons."""
        return cls(reason, _MESSAGES[reason].format(address=address))
