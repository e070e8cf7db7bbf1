"""Sees what happens on the node, so that the controller can be told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import structlog
from paradrop.chutes.v1 import changes_pb2, changes_pb2_grpc, chutes_pb2, chutes_pb2_grpc
from paradrop.controller.v1 import controller_pb2

from services.common.channels import service_metadata
from services.common.errors import DomainError
from services.common.timestamps import to_seconds
from services.node.adapters.outbox import Outbox
from services.node.domain.inventory import Inventory
from services.node.rpc import documents

log = structlog.get_logger()

RETRY_S = 1.0
IDLE_S = 3600.0
PAGE = 100
TIMEOUT_S = 10.0
ENDED = ("succeeded", "failed")
ALTERING = ("create", "update", "delete")
"""Types of changes after which a chute is not what the controller had installed, unless they are its own."""


class NodeObserver:
    """Puts ends of changes, and what is installed, into the outbox while the node has a controller.

    The chute service tells of both, over a socket of this machine and only while there is somebody to tell.
    """

    def __init__(
        self, channel: grpc.aio.Channel, token_file: Path, outbox: Outbox, inventory: Inventory
    ) -> None:
        self._changes: Any = changes_pb2_grpc.ChangeServiceStub(channel)
        self._chutes: Any = chutes_pb2_grpc.ChuteServiceStub(channel)
        self._token_file = token_file
        self._outbox = outbox
        self._inventory = inventory
        self._told_state = b""
        self._seen: set[int] = set()
        self.reset_s = 0.0
        """When the node was last set back, in seconds since 1970."""
        self.reset = asyncio.Event()
        """Set when `reset_s` is another one."""

    async def begin(self) -> None:
        """Starts a new story for a new controller: what ended before is not told."""
        await self._outbox.clear()
        ended = [change.id async for change in self._ended()]
        await self._outbox.see_ended(ended)
        self._seen = set(ended)
        self._told_state = b""

    async def run(self) -> None:
        """Follows for good."""
        self._seen = await self._outbox.ended_changes()
        async with asyncio.TaskGroup() as tasks:
            for work in (self._follow_ends, self._follow_chutes, self._follow_hardware):
                tasks.create_task(_again(work))

    async def _follow_ends(self) -> None:
        async for event in self._news():
            if event.HasField("synced"):
                # Those that ended before the watch began.
                async for change in self._ended():
                    await self._see(change)
            elif event.change.status in ENDED:
                await self._see(event.change)

    async def _see(self, change: changes_pb2.Change) -> None:
        if change.update_type == "factoryreset" and change.status == "succeeded":
            self.reset_s = max(self.reset_s, to_seconds(change.end_time))
            self.reset.set()
        if change.status == "succeeded" and change.update_type in ALTERING:
            await self._outbox.forget_origin(change.name, change.id)
        if change.id not in self._seen:
            await self._outbox.add_ended(change.id, change.SerializeToString(deterministic=True))
            self._seen.add(change.id)

    async def _follow_chutes(self) -> None:
        request = chutes_pb2.WatchChutesRequest()
        stream = self._chutes.WatchChutes(request, metadata=self._metadata(), wait_for_ready=True)
        async for event in _closing(stream):
            if event.HasField("list"):
                await self._tell(self._state_with(event.list.chutes))

    async def _follow_hardware(self) -> None:
        with self._inventory.changes.subscribe(depth=1) as changes:
            async for _ in changes.batches(IDLE_S):
                await self._tell(await self.state())

    async def _tell(self, state: controller_pb2.NodeState) -> None:
        payload = state.SerializeToString(deterministic=True)
        if payload != self._told_state:
            await self._outbox.set_state(payload)
            self._told_state = payload

    async def state(self) -> controller_pb2.NodeState:
        """Returns what is installed now."""
        listed = await self._chutes.ListChutes(
            chutes_pb2.ListChutesRequest(), metadata=self._metadata(), timeout=TIMEOUT_S
        )
        return self._state_with(listed.chutes)

    def _state_with(self, chutes: Iterable[chutes_pb2.Chute]) -> controller_pb2.NodeState:
        return controller_pb2.NodeState(
            chutes=chutes,
            hardware=documents.to_hardware(self._inventory.hardware),
            software=documents.to_software(self._inventory.software, 0),
        )

    async def progress(self) -> AsyncIterator[controller_pb2.ChangeProgress]:
        """Yields the messages of changes that run, as they come."""
        queue: asyncio.Queue[controller_pb2.ChangeProgress] = asyncio.Queue(256)
        watched: set[int] = set()
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(_again(partial(self._watch_new, tasks, watched, queue)))
            try:
                while True:
                    yield await queue.get()
            finally:
                looking.cancel()

    async def _watch_new(
        self,
        tasks: asyncio.TaskGroup,
        watched: set[int],
        queue: "asyncio.Queue[controller_pb2.ChangeProgress]",
    ) -> None:
        async for event in self._news():
            change = event.change
            if event.HasField("change") and change.id not in watched:
                watched.add(change.id)
                tasks.create_task(self._watch(change.id, queue))
            if change.status in ENDED:
                watched.discard(change.id)  # Nothing more comes of it.

    def _news(self) -> AsyncIterator[changes_pb2.WatchChangesResponse]:
        request = changes_pb2.WatchChangesRequest()
        return _closing(self._changes.WatchChanges(request, metadata=self._metadata(), wait_for_ready=True))

    async def _watch(self, change_id: int, queue: "asyncio.Queue[controller_pb2.ChangeProgress]") -> None:
        with suppress(grpc.aio.AioRpcError, DomainError):
            request = changes_pb2.WatchChangeRequest(change_id=change_id)
            async for event in _closing(self._changes.WatchChange(request, metadata=self._metadata())):
                if event.HasField("progress"):
                    await queue.put(
                        controller_pb2.ChangeProgress(change_id=change_id, progress=event.progress)
                    )

    async def _ended(self) -> AsyncIterator[changes_pb2.Change]:
        """Yields changes that have ended, oldest first, back to the first one that was seen before."""
        found: list[changes_pb2.Change] = []
        token = ""
        while True:
            listed = await self._changes.ListChanges(
                changes_pb2.ListChangesRequest(include_ended=True, page_size=PAGE, page_token=token),
                metadata=self._metadata(),
                timeout=TIMEOUT_S,
            )
            ended = [change for change in listed.changes if change.status in ENDED]
            found += ended
            token = listed.next_page_token
            if not token or (ended and all(change.id in self._seen for change in ended)):
                break
        for change in reversed(found):
            yield change

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return service_metadata(self._token_file)


async def _closing(stream: Any) -> AsyncIterator[Any]:
    """Yields the messages of a stream, and ends it when nobody reads on."""
    try:
        async for message in stream:
            yield message
    finally:
        stream.cancel()


async def _again(work: Callable[[], Awaitable[None]]) -> None:
    """Does work for good; what it asks may be down for a while."""
    while True:
        with suppress(grpc.aio.AioRpcError, DomainError):
            await work()
        await asyncio.sleep(RETRY_S)
