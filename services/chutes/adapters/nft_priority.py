"""Lets the packets of some containers go first: the kernel marks what they send (nftables).

The mark is the DSCP "expedited forwarding", by which Wi-Fi (WMM), many queues and other routers choose, and
the traffic class 1:1, by which a queue that was set up by hand may.
"""

import asyncio
import ipaddress
import shutil
from collections.abc import Sequence

from services.common.children import program_path
from services.common.errors import FailedPrecondition

TABLE = "paradrop_chutes"
TIMEOUT_S = 10.0


class NftPriority:
    """`services.chutes.domain.ports.TrafficPriority` with the program nft."""

    async def set(self, addresses: Sequence[str]) -> None:
        """Puts these and no others first. FailedPrecondition (NFT_FAILED) if the node cannot do that."""
        program = await asyncio.to_thread(shutil.which, "nft", path=program_path())
        if program is None:
            raise _failed("the program nft is missing; install nftables")
        process = await asyncio.create_subprocess_exec(
            program,
            *("-f", "-"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(TIMEOUT_S):
                _, said = await process.communicate(ruleset(addresses).encode())
        except BaseException:
            if process.returncode is None:
                process.kill()
                await process.wait()
            raise
        if process.returncode:
            lines = said.decode(errors="replace").splitlines() or ["nft says nothing"]
            raise _failed(lines[0])


def ruleset(addresses: Sequence[str]) -> str:
    """Returns what nft reads: one transaction that replaces our table, or removes it."""
    remove = f"add table ip {TABLE}\ndelete table ip {TABLE}\n"
    elements = ", ".join(str(ipaddress.IPv4Address(address)) for address in addresses)
    if not elements:
        return remove
    return (
        f"{remove}table ip {TABLE} {{\n"
        f"  set first {{ type ipv4_addr; elements = {{ {elements} }}; }}\n"
        "  chain forward {\n"
        "    type filter hook forward priority mangle; policy accept;\n"
        "    ip saddr @first ip dscp set ef meta priority set 1:1 counter\n"
        "  }\n}\n"
    )


def _failed(why: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"The traffic of chutes cannot be prioritised: {why}.", reason="NFT_FAILED", why=why
    )
