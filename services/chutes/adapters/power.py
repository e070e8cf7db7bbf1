"""Turns this machine off and on again, through the system's own command."""

import asyncio
import shutil

import structlog

from services.common.errors import DomainError, FailedPrecondition

log = structlog.get_logger()

COMMAND = "shutdown"
TIMEOUT_S = 15.0
DELAY = "+1"
"""A minute: whoever asked for it sees the change end, and can still cancel."""


class SystemPower:
    """`services.chutes.domain.power.Power` with the command `shutdown`, as an administrator would use it."""

    async def schedule(self, again: bool) -> None:
        """Has the machine restarted, or halted, in a minute."""
        await _run(COMMAND, "-r" if again else "-h", DELAY)

    async def cancel(self) -> None:
        """Takes back what was scheduled."""
        await _run(COMMAND, "-c")


class NoPower:
    """For machines that nobody may turn off through the API: labs, containers, shared hosts."""

    async def schedule(self, again: bool) -> None:
        """Refuses."""
        raise FailedPrecondition(
            "This node does not let itself be restarted or halted; see PARADROP_POWER.",
            reason="POWER_DISABLED",
        )

    async def cancel(self) -> None:
        """Nothing was scheduled."""


async def _run(*command: str) -> None:
    if await asyncio.to_thread(shutil.which, command[0]) is None:
        raise _refused(f"there is no command {command[0]!r} here")
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise _refused("it does not answer") from None
    log.info("asked the system", command=list(command), status=process.returncode)
    if process.returncode:
        words = output.decode(errors="replace").strip().splitlines() or ["it gives no reason"]
        raise _refused(words[-1][:200])


def _refused(why: str) -> DomainError:
    return FailedPrecondition(
        f"The system does not restart or halt: {why}. The node must run as root beside systemd for that.",
        reason="POWER_REFUSED",
    )
