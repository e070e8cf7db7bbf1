"""Keeps the host configuration: one document in force, earlier versions, and a new one on probation."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import structlog

from services.common.errors import Aborted, DomainError, FailedPrecondition, NotFound
from services.network.domain.errors import host_config_invalid
from services.network.domain.hostcheck import Document, violations
from services.network.domain.hostdiff import Difference, differences, unmasked
from services.network.domain.hostversions import HostState, Version
from services.network.domain.reachability import Path, Reachability
from services.network.domain.store import VersionStore
from services.network.domain.violation import Violation

NODE = "__paradrop__"
CHECK_TIMEOUT_S = 15.0
"""How long a new configuration may take until the node can be reached again."""
CHECK_INTERVAL_S = 1.0
MIN_CONFIRM_S, MAX_CONFIRM_S = 5, 3600

log = structlog.get_logger()


class HostFile(Protocol):
    """The file in which people find the document in force, and may edit it while the node is down."""

    async def read(self) -> Mapping[str, Any] | None:
        """Returns what the file holds; None if there is none, or nothing that could be a document."""

    async def write(self, document: Document) -> None:
        """Replaces the file."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the configuration works with."""

    store: VersionStore
    file: HostFile
    generate: Callable[[], Awaitable[Document]]
    """Returns a document for the hardware that is present."""
    use: Callable[[Document], Awaitable[None]]
    """Puts a document into force or raises why not, and the one before stays."""
    restore: Callable[[Document], Awaitable[None]]
    """Puts a document into force that was there before, as far as it can be now."""
    reachability: Reachability
    clock: Callable[[], float]
    check_timeout_s: float = CHECK_TIMEOUT_S
    check_interval_s: float = CHECK_INTERVAL_S


class HostConfigs:
    """One document in force, with its history."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._turn = asyncio.Lock()
        self._state = HostState(0)
        self._document: Document = {}
        self._probation: asyncio.Task[None] | None = None
        self._confirmed = asyncio.Event()

    @property
    def document(self) -> Document:
        """The document in force; not to be altered."""
        return self._document

    @property
    def state(self) -> HostState:
        """Which version is in force."""
        return self._state

    async def load(self) -> Document:
        """Takes up what is stored, and returns the document that is to be applied.

        A version on probation when the node ended did not prove itself: the one before is in force again.
        What somebody has written into the file meanwhile becomes a version, if it is valid.
        """
        store = self._parts.store
        state = await store.host_state()
        if state is not None and state.state == "probation":
            state = _reverted(
                state, "NODE_RESTARTED", "The node ended before the configuration was confirmed."
            )
            await store.set_host_state(state)
        kept = await store.document(state.version) if state else None
        if state is None or kept is None:
            written = await self._parts.file.read()
            usable = written is not None and not violations(written)
            document = written if written and usable else await self._parts.generate()
            await self._record(document, NODE, 0, confirmed=True)
            return self._document
        self._state, self._document = state, kept
        written = None if state.state == "reverted" else await self._parts.file.read()
        if written is not None and written != kept:
            wrong = violations(written)
            if wrong:
                log.warning("the file of the host configuration is not valid", field=wrong[0].field)
            else:
                await self._record(written, NODE, 0, confirmed=True)
        await self._parts.file.write(self._document)
        return self._document

    def check(self, document: Document) -> tuple[list[Violation], list[Difference]]:
        """Returns what is wrong with a document, and what it would alter."""
        full = unmasked(document, self._document)
        return violations(full), list(differences(self._document, full))

    async def apply(self, document: Document, change_id: int, author: str, confirm_s: int) -> HostState:
        """Puts a document into force on probation."""
        async with self._turn:
            if self._state.change_id == change_id and self._state.state != "reverted":
                return self._state
            if self._state.state == "probation":
                raise Aborted(
                    f"Version {self._state.version} is on probation; confirm it or wait for its end.",
                    reason="HOST_CONFIG_ON_PROBATION",
                    version=str(self._state.version),
                )
            full = unmasked(document, self._document)
            wrong = violations(full)
            if wrong:
                raise host_config_invalid(wrong)
            path = await self._parts.reachability.path()
            before = self._document
            self._confirmed.clear()
            limit = confirm_s or self._parts.check_timeout_s
            await self._record(
                full, author, change_id, deadline_s=self._parts.clock() + limit, waits=bool(confirm_s)
            )
            try:
                await self._parts.use(full)
            except BaseException as error:
                reason = error.reason if isinstance(error, DomainError) else "INTERNAL"
                await self._return_to(before, reason, "The configuration could not be applied.")
                raise
            self._probation = asyncio.create_task(self._prove(path, limit), name="host config probation")
            return self._state

    async def _prove(self, path: Path, limit_s: float) -> None:
        """Waits until the version in force has proved itself, or brings the one before back."""
        reason, message = await self._verdict(path, limit_s)
        async with self._turn:
            if self._state.state != "probation":
                return
            if not reason:
                await self._set(replace(self._state, state="confirmed", deadline_s=0.0))
                return
            log.warning("the host configuration is taken back", version=self._state.version, reason=reason)
            previous = await self._parts.store.document(self._state.previous)
            await self._bring_back(previous, reason, message)

    async def _verdict(self, path: Path, limit_s: float) -> tuple[str, str]:
        loop = asyncio.get_running_loop()
        end = loop.time() + limit_s
        if self._state.waits_for_confirmation:
            try:
                async with asyncio.timeout(limit_s):
                    await self._confirmed.wait()
            except TimeoutError:
                return (
                    "HOST_CONFIG_NOT_CONFIRMED",
                    f"Nobody confirmed the configuration within {limit_s:.0f} seconds.",
                )
            return "", ""
        while True:
            lost = await self._parts.reachability.lost(path)
            if not lost or self._confirmed.is_set():
                return "", ""
            if loop.time() >= end:
                return "MANAGEMENT_LOST", f"The node could not be reached any more: {lost}."
            await asyncio.sleep(self._parts.check_interval_s)

    async def confirm(self, version: int) -> HostState:
        """Ends the probation: the version in force stays."""
        async with self._turn:
            state = self._state
            if state.state != "probation" or version not in (0, state.version):
                raise FailedPrecondition(
                    "No such version of the host configuration is on probation.",
                    reason="HOST_CONFIG_NOT_ON_PROBATION",
                    version=str(version or state.version),
                )
            self._confirmed.set()
            await self._set(replace(state, state="confirmed", deadline_s=0.0))
            return self._state

    async def revert(self, change_id: int) -> HostState:
        """Brings the version before a change back, if the one in force is of this change."""
        async with self._turn:
            state = self._state
            if state.change_id == change_id and state.state != "reverted":
                previous = await self._parts.store.document(state.previous)
                await self._bring_back(previous, "CHANGE_UNDONE", "The change that brought it was undone.")
            return self._state

    async def _bring_back(self, document: Document | None, reason: str, message: str) -> None:
        if document is None:
            return
        # First in the kernel, then in the record: after a crash in between it is done again.
        await self._parts.restore(document)
        await self._return_to(document, reason, message)

    async def _return_to(self, document: Document, reason: str, message: str) -> None:
        self._document = document
        await self._set(_reverted(self._state, reason, message))
        await self._parts.file.write(document)

    async def versions(self) -> Sequence[Version]:
        """Returns the versions that are kept, newest first."""
        return await self._parts.store.versions()

    async def version(self, number: int) -> tuple[Version, Document]:
        """Returns a version with its document; NotFound (HOST_CONFIG_VERSION_NOT_FOUND)."""
        document = await self._parts.store.document(number)
        found = [version for version in await self.versions() if version.version == number]
        if document is None or not found:
            raise NotFound(
                f"There is no version {number} of the host configuration; list those that are kept with "
                "GET /api/v1/config/hostconfig/versions.",
                reason="HOST_CONFIG_VERSION_NOT_FOUND",
                version=str(number),
            )
        return found[0], document

    async def diff(self, first: int, second: int) -> list[Difference]:
        """Returns what differs between two versions; 0 is the one in force, or the one before the second."""
        second = second or self._state.version
        older = [version.version for version in await self.versions() if version.version < second]
        _, after = await self.version(second)
        before: Document = {}
        if first or older:
            _, before = await self.version(first or older[0])
        return list(differences(before, after))

    async def close(self) -> None:
        """Stops watching a probation; the next start takes the version back."""
        if self._probation is not None:
            self._probation.cancel()
            await asyncio.gather(self._probation, return_exceptions=True)

    async def _record(
        self,
        document: Document,
        author: str,
        change_id: int,
        deadline_s: float = 0.0,
        waits: bool = False,
        confirmed: bool = False,
    ) -> None:
        newest = max((version.version for version in await self.versions()), default=0)
        version = Version(newest + 1, self._parts.clock(), author, change_id)
        state = HostState(
            version=version.version,
            state="confirmed" if confirmed else "probation",
            previous=self._state.version,
            change_id=change_id,
            deadline_s=deadline_s,
            waits_for_confirmation=waits,
        )
        await self._parts.store.add_version(version, document, state)
        await self._parts.file.write(document)
        self._state, self._document = state, document

    async def _set(self, state: HostState) -> None:
        await self._parts.store.set_host_state(state)
        self._state = state


def _reverted(state: HostState, reason: str, message: str) -> HostState:
    return HostState(
        version=state.previous,
        state="reverted",
        change_id=state.change_id,
        reason=reason,
        message=f"{message} Version {state.previous} is in force again.",
    )
