"""The firewall of the kernel, by nftables' JSON interface."""

import asyncio
import json
import os
from typing import Any

from services.common.children import program_path
from services.common.errors import DomainError, FailedPrecondition, Unavailable
from services.network.adapters.nft_rules import TABLE, commands, docker_commands
from services.network.domain.errors import permission_missing
from services.network.domain.firewall import Ruleset

TIMEOUT_S = 10.0
DOCKER_CHAIN = {"family": "ip", "table": "filter", "name": "DOCKER-USER"}
"""Docker forwards nothing that it did not make itself, and lets others say here what else may pass."""


class NftFirewall:
    """Keeps the table of ours by running nft, one transaction at a time."""

    def __init__(self, *prefix: str) -> None:
        self._prefix = prefix
        """Words before "nft", such as those that enter a network namespace."""
        self._lock = asyncio.Lock()

    async def apply(self, ruleset: Ruleset) -> None:
        """Replaces the table in one transaction; an empty ruleset removes it."""
        async with self._lock:
            if ruleset.empty and not await self._may_be_applied():
                return
            await self._run(commands(ruleset))
            await self._tell_docker(ruleset)

    async def _may_be_applied(self) -> bool:
        try:
            return await self.applied()
        except DomainError:
            return False  # Whoever may not look cannot have applied anything either.

    async def applied(self) -> bool:
        """Tells whether the table is in the kernel."""
        listed = await self._list("tables")
        return any(item.get("table", {}).get("name") == TABLE for item in listed)

    async def _tell_docker(self, ruleset: Ruleset) -> None:
        try:
            present = await self._list("chain", *DOCKER_CHAIN.values())
        except FailedPrecondition:
            return  # No Docker, or one that keeps its rules elsewhere.
        handles = [item["rule"]["handle"] for item in present if item.get("rule", {}).get("comment") == TABLE]
        wanted = docker_commands(ruleset, handles)
        if wanted:
            await self._run(wanted)

    async def _list(self, *what: str) -> list[dict[str, Any]]:
        output = await self._nft("-j", "-a", "list", *what)
        listed: list[dict[str, Any]] = json.loads(output)["nftables"]
        return listed

    async def _run(self, batch: list[dict[str, Any]]) -> None:
        await self._nft("-j", "-f", "-", stdin=json.dumps({"nftables": batch}).encode())

    async def _nft(self, *arguments: str, stdin: bytes | None = None) -> bytes:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._prefix,
                "nft",
                *arguments,
                stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=os.environ | {"PATH": program_path()},
            )
        except FileNotFoundError:
            raise Unavailable(
                "The firewall needs the program nft; install the package nftables.",
                reason="NFT_NOT_INSTALLED",
            ) from None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                output, complaint = await process.communicate(stdin)
        except TimeoutError:
            raise Unavailable(
                "nft did not answer in time; see whether the machine is overloaded.", reason="NFT_FAILED"
            ) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise _refused(complaint.decode(errors="replace"))
        return output


def _refused(complaint: str) -> DomainError:
    if "not permitted" in complaint:
        return permission_missing("change the firewall")
    lines = complaint.strip().splitlines() or ["it gave no reason"]
    return FailedPrecondition(f"nft refused the firewall: {lines[0][:200]}", reason="NFT_FAILED")
