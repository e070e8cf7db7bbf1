"""Programs that run as children of a part: where they are, how they are tied to it, how they are ended."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Sequence


def program_path() -> str:
    """Returns where programs are looked for: also where those of root are, which many a PATH leaves out."""
    return ":".join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def tied(argv: Sequence[str]) -> list[str]:
    """Returns a command that the kernel ends together with this process, however that happens."""
    setpriv = shutil.which("setpriv")
    return [*((setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()), *argv]


async def end(process: asyncio.subprocess.Process, patience_s: float) -> None:
    """Ends a child and waits for it: politely at first, and by force when that takes too long."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(patience_s):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
