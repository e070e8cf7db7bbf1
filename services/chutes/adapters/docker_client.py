"""The connection to one Docker engine: calls in threads, and what their failures mean."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

import docker
import requests
import urllib3
from docker.errors import APIError, DockerException, StreamParseError

from services.chutes.adapters.docker_transport import LOWEST_VERSION, open_client
from services.common.errors import DomainError, FailedPrecondition, ResourceExhausted, Unavailable

T = TypeVar("T")

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
CALL_TIMEOUT_S = 60
CALLS_AT_ONCE = 8
RETRY_AFTER_S = 5.0

ENGINE_FAILURES = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    DockerException,
    StreamParseError,
    OSError,
)
"""Everything the SDK raises when the engine refuses, answers nonsense or is gone."""


class EngineConnection:
    """Where the engine listens, and a client for it once it has told its API version.

    Calls run in threads of their own: an engine that hangs must not use up those that the rest of the node
    hashes passwords and writes files with.
    """

    def __init__(self, address: str | None) -> None:
        self.address = address or DEFAULT_ADDRESS
        self._threads = ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="engine")
        self._lock = threading.Lock()
        self._client: docker.APIClient | None = None
        self._on_lost: Callable[[], None] = lambda: None

    def when_lost(self, callback: Callable[[], None]) -> None:
        """Calls back in the event loop after each call that the engine did not answer."""
        self._on_lost = callback

    def close(self) -> None:
        """Lets the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.forget()

    def forget(self) -> None:
        """Drops the client: the engine that comes back may be another version."""
        # Without the lock: a thread may hold it as long as an engine hangs, and this is the event loop.
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def client(self) -> docker.APIClient:
        """Returns the client that all calls share; blocking."""
        with self._lock:
            client = self._client
            if client is None:
                with closing(open_client(self.address, LOWEST_VERSION, CALL_TIMEOUT_S)) as first:
                    version = first.version(api_version=False)["ApiVersion"]
                client = self._client = open_client(self.address, version, CALL_TIMEOUT_S)
            return client

    def own_client(self) -> docker.APIClient:
        """Returns a client of one's own, for a call that streams; blocking."""
        return open_client(self.address, self.client().api_version, CALL_TIMEOUT_S)

    async def call(self, work: Callable[[docker.APIClient], T]) -> T:
        """Runs `work` in a thread, to its end even if the caller is cancelled.

        What the engine has been told to do happens anyway; whoever undoes it must not overtake it.
        """
        future = asyncio.get_running_loop().run_in_executor(self._threads, self._run, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            if not future.cancelled() and isinstance(future.exception(), Unavailable):
                self._on_lost()
            raise
        except Unavailable:
            self._on_lost()
            raise

    def _run(self, work: Callable[[docker.APIClient], T]) -> T:
        try:
            return work(self.client())
        except ENGINE_FAILURES as error:
            raise self.translated(error) from error

    def translated(self, error: BaseException) -> DomainError:
        """Returns what to tell the caller."""
        if isinstance(error, APIError) and error.status_code is not None:
            return refusal(error)
        return self.down(error)

    def down(self, cause: BaseException | None = None) -> Unavailable:
        """Returns the error that says that the engine is gone."""
        hint = "see that it runs (systemctl status docker) and try again"
        if _caused_by(cause, PermissionError):
            hint = "this user may not use its socket; add it to the group docker and log in again"
        return Unavailable(
            f"The Docker engine does not answer at {self.address}; {hint}.",
            reason="ENGINE_DOWN",
            retry_after_s=RETRY_AFTER_S,
            address=self.address,
        )


def words(error: APIError) -> str:
    """Returns what the engine said."""
    return str(error.explanation or error).strip()


def says_disk_full(said: str) -> bool:
    """Tells whether words of the engine, or of what it runs, are those of a full disk."""
    return "no space left on device" in said.lower()


def engine_disk_full(said: str) -> ResourceExhausted:
    """The engine has no room for what it is to keep."""
    return ResourceExhausted(
        f"The disk of the engine is full; remove chutes or images and try again. The engine says: {said}",
        reason="DISK_FULL",
        engine=said,
    )


def refusal(error: APIError, reason: str = "ENGINE_REFUSED", subject: str = "") -> DomainError:
    """Returns the error for a call that the engine answered with no; `subject` is the name it is about."""
    said = words(error)
    if says_disk_full(said):
        return engine_disk_full(said)
    about = f" {subject}" if subject else ""
    return FailedPrecondition(
        f"The Docker engine refused{about}: {said}", reason=reason, engine=said, subject=subject
    )


def _caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    """Searches an error, what it wraps and what it was raised from."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        candidate = waiting.pop()
        if not isinstance(candidate, BaseException) or id(candidate) in seen:
            continue
        seen.add(id(candidate))
        if isinstance(candidate, kind):
            return True
        waiting += [candidate.__cause__, candidate.__context__, *candidate.args]
        waiting.append(getattr(candidate, "reason", None))
    return False
