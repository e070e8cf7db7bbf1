"""What the node tells of ZeroTier, a program of the host that the node neither installs nor runs."""

import re
from pathlib import Path
from typing import Any

Document = dict[str, Any]

IDENTITY = re.compile(r"[0-9a-f]{10}:0:[0-9a-f]{128}")


def read_address(folder: Path) -> str | None:
    """Returns the public identity by which networks know the host, if the folder of ZeroTier has one."""
    try:
        text = (folder / "identity.public").read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return text if IDENTITY.fullmatch(text) else None


def with_networks(host_config: Document, networks: Any) -> Document:
    """Returns the host configuration with networks besides those that it has."""
    section = host_config.get("zerotier") or {}
    known = list(section.get("networks") or [])
    wanted = networks if isinstance(networks, list) else []
    missing = [network for network in wanted if network not in known]
    if not missing:
        return host_config
    return host_config | {"zerotier": {"enabled": True} | section | {"networks": known + missing}}
