"""What a caller may say to hostapd directly, and what it gets to hear.

hostapd can be told to read and write files, to load programs and to end. Only commands that watch and steer
stations pass.
"""

import re

from services.common.errors import PermissionDenied

ALLOWED = frozenset(
    (
        # Watching.
        *("PING", "ATTACH", "DETACH", "STATUS", "STATUS-DRIVER", "GET_CONFIG", "MIB", "INTERFACES"),
        *("STA", "STA-FIRST", "STA-NEXT", "SIGNATURE", "POLL_STA", "SHOW_NEIGHBOR", "PMKSA"),
        # Steering stations.
        *("DEAUTHENTICATE", "DISASSOCIATE", "BSS_TM_REQ", "DISASSOC_IMMINENT", "ESS_DISASSOC"),
        *("DENY_ACL", "ACCEPT_ACL", "REQ_BEACON", "CHAN_SWITCH", "UPDATE_BEACON"),
    )
)
_VERB = re.compile(rb"[A-Z][A-Z_-]*")
_SECRET = re.compile(
    rb"^(passphrase|psk|wpa_psk|wpa_passphrase|sae_password|wep_key\d?|.*shared_secret|.*key|pmk|ptk|kck)=.*$",
    re.MULTILINE | re.IGNORECASE,
)


def check_command(datagram: bytes) -> None:
    """Raises PermissionDenied (HOSTAPD_COMMAND_NOT_ALLOWED) unless hostapd may be told this."""
    match = _VERB.match(datagram)
    verb = match[0].decode() if match else ""
    words = datagram.split(b" ", 1)
    if (
        verb not in ALLOWED
        or words[0].strip() != verb.encode()
        or re.search(rb"[\x00-\x1f\x7f]", datagram.rstrip())
    ):
        raise PermissionDenied(
            "This command could hand over the node; hostapd takes "
            f"{', '.join(sorted(ALLOWED))} here. Use the calls of the API for the rest.",
            reason="HOSTAPD_COMMAND_NOT_ALLOWED",
            command=verb[:32],
        )


def without_secrets(datagram: bytes) -> bytes:
    """Returns what hostapd said without the values of keys."""
    return _SECRET.sub(rb"\1=(hidden)", datagram)
