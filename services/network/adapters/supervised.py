"""A program that runs as long as we do: started again when it ends, ever more slowly, and never alone.

The kernel ends the program when this process ends, however that happens, so nothing is left to be found.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import structlog

from services.common.children import end, tied

log = structlog.get_logger()

FIRST_DELAY_S, MAX_DELAY_S = 0.5, 30.0
STEADY_S = 30.0
"""A program that ran for so long begins with the first delay again."""
STOP_TIMEOUT_S = 4.0
KEPT_LINES = 20


class Supervised:
    """One program and what became of it."""

    def __init__(
        self, name: str, argv: Sequence[str], started: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._name = name
        self._argv = list(argv)
        self._started = started
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._heard = asyncio.Event()
        self._silent = True
        """Whether it has ended, and all that it said was read."""
        self.exit_reason = ""
        """Why it ended last, in words; empty while it has not."""

    @property
    def running(self) -> bool:
        """Whether the program runs now."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        """Its process id, if it runs."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def last_words(self) -> str:
        """What it said last, one line after another."""
        return "\n".join(self._lines)

    async def says(self, words: str) -> bool:
        """Waits until the program has said these words, or returns False if it ends without."""
        while not self._silent and words not in self.last_words:
            self._heard.clear()
            await self._heard.wait()
        return words in self.last_words

    async def start(self) -> None:
        """Starts the program; raises OSError if there is none."""
        await self._spawn()
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Ends the program, politely at first."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._process is not None:
            await end(self._process, STOP_TIMEOUT_S)

    def reload(self) -> None:
        """Lets the program read its files anew, if it runs."""
        if self._process is not None and self.running:
            self._process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """Ends the program at once; it is started again."""
        if self._process is not None and self.running:
            self._process.kill()

    async def ended(self) -> None:
        """Waits until the program has ended."""
        if self._process is not None:
            await self._process.wait()

    async def _spawn(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *await asyncio.to_thread(tied, self._argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # What it says is read.
            env=os.environ | {"LC_ALL": "C"},
        )
        self._silent = False

    async def _keep(self) -> None:
        delay_s = FIRST_DELAY_S
        while True:
            began_s = time.monotonic()
            code = await self._watch()
            self.exit_reason = _reason(code)
            log.warning(
                "program ended", program=self._name, reason=self.exit_reason, said=self.last_words[-300:]
            )
            delay_s = FIRST_DELAY_S if time.monotonic() - began_s > STEADY_S else delay_s
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, MAX_DELAY_S)
            try:
                await self._spawn()
                if self._started is not None:
                    await self._started()
            except Exception as error:  # What is wrong with this start may be right at the next.
                self.exit_reason = str(error)

    async def _watch(self) -> int:
        """Reads what the program says until it ends."""
        process = self._process
        if process is None or process.stdout is None:
            return 0
        with contextlib.suppress(ValueError):  # A line without an end is no reason to stop.
            async for line in process.stdout:
                self._lines.append(line.decode(errors="replace").rstrip()[:300])
                self._heard.set()
        code = await process.wait()
        self._silent = True
        self._heard.set()
        return code


def _reason(code: int) -> str:
    if code >= 0:
        return f"it ended with status {code}"
    try:
        return f"it was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was ended by signal {-code}"
