"""Keeps up with what our containers do, by the engine's own events."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import structlog

from services.chutes.adapters.docker_client import EngineConnection
from services.chutes.adapters.docker_containers import list_states
from services.chutes.adapters.docker_labels import NODE
from services.chutes.adapters.docker_stream import Conveyor, StreamingCall, conveyed
from services.chutes.domain.ports import ContainerState
from services.common.errors import DomainError
from services.common.feed import Feed

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a container."""

    action: str
    container: str = ""
    """Id; empty for the event that the connection stands."""
    exit_code: int | None = None


DEPTH = 256

# Health checks of images make three exec events each time, which say nothing; their outcomes do.
EVENTS = [
    *("create", "start", "restart", "die", "stop", "kill", "pause", "unpause", "rename", "destroy"),
    "health_status",
]
SETTLE_S = 0.02
"""Events come in bursts; one list answers the whole burst."""
CONFIRM_S = 0.5
"""The engine tells some events before its own list shows them, so the list is asked for once more."""
PING_S = 30.0
FIRST_RETRY_S = 0.2
LAST_RETRY_S = 5.0
RETURN_S = 10.0
CLOCK_SLACK_S = 2


class EngineWatch:
    """What the engine last said of our containers, and whether it is there at all."""

    def __init__(self, connection: EngineConnection, node_id: str) -> None:
        self._connection = connection
        self._node_id = node_id
        self._states: Mapping[str, ContainerState] | None = None
        self._deaths: dict[str, int | None] = {}
        """Containers that died after they last started, and their exit codes."""
        self._listing = asyncio.Lock()
        self._lists = 0
        self._events: Conveyor[Event] | None = None
        self._checked = asyncio.Event()
        self._up = asyncio.Event()
        self._wake = asyncio.Event()
        self.changes: Feed[None] = Feed()
        """Tells that `available` or `states` may have changed."""
        connection.when_lost(self._doubt)

    @property
    def available(self) -> bool:
        """Whether the engine answered last."""
        return self._up.is_set()

    @property
    def states(self) -> Mapping[str, ContainerState] | None:
        """Our containers by name; None while the engine is gone."""
        return self._states if self.available else None

    async def first_check(self) -> None:
        """Waits until the engine has answered or failed once."""
        await self._checked.wait()

    async def refresh(self) -> None:
        """Lists our containers now, or raises that the engine is gone."""
        if not self.available:
            await self._connection.call(lambda client: client.ping())
            self._wake.set()
            try:
                async with asyncio.timeout(RETURN_S):
                    await self._up.wait()
            except TimeoutError:
                raise self._connection.down() from None
        await self._list()

    async def _list(self) -> None:
        """Lists our containers; callers at the same time share one list that starts after they called."""
        before = self._lists
        async with self._listing:
            if self._lists > before:
                return
            listed = self._lists + 1
            by_id = await self._connection.call(lambda client: list_states(client, self._node_id))
            self._lists = listed
            states = {state.name: state for state in map(self._with_death, by_id, by_id.values())}
            changed, self._states = states != self._states, states
        if changed and self.available:
            self.changes.publish(None)

    def _with_death(self, container: str, state: ContainerState) -> ContainerState:
        """Corrects a state: the engine lists a container that has just died as running for a while."""
        if container not in self._deaths or state.status != "running":
            return state
        return replace(state, status="exited", ports={}, exit_code=self._deaths[container])

    def _note(self, event: Event) -> None:
        if event.action == "die":
            self._deaths[event.container] = event.exit_code
        elif event.action in ("start", "destroy"):
            self._deaths.pop(event.container, None)

    async def run(self) -> None:
        """Follows the engine for good, through its absences."""
        retry_s = FIRST_RETRY_S
        while True:
            self._wake.clear()
            why = await self._follow()
            if self.available:
                retry_s = FIRST_RETRY_S
            self._down(why)
            with suppress(TimeoutError):
                async with asyncio.timeout(retry_s):
                    await self._wake.wait()
            retry_s = min(2 * retry_s, LAST_RETRY_S)

    async def _follow(self) -> str:
        """Follows the engine until it goes, and returns why."""
        try:
            async with conveyed(self._connection, _read_events(self._node_id), "events", DEPTH) as events:
                self._events = events
                self._deaths.clear()
                idle_s = PING_S
                while (batch := await events.batch(idle_s)) is not None:
                    for event in batch:
                        self._note(event)
                    if batch:
                        await asyncio.sleep(SETTLE_S)
                    if not batch and idle_s == PING_S:
                        await self._connection.call(lambda client: client.ping())
                    else:
                        await self._list()
                    idle_s = CONFIRM_S if batch else PING_S
                    if not self.available:
                        self._came_up()
        except DomainError as error:
            return str(error)
        except Exception:  # A fault here must not leave the node blind for good.
            log.exception("following the engine failed")
            return "Following the engine's events failed."
        finally:
            self._events = None
        return f"The Docker engine at {self._connection.address} ended its events."

    def _came_up(self) -> None:
        log.info("the engine answers", address=self._connection.address)
        self._up.set()
        self._checked.set()
        self.changes.publish(None)

    def _down(self, why: str) -> None:
        self._connection.forget()
        if self.available or not self._checked.is_set():
            log.warning("the engine is gone", why=why)
        self._up.clear()
        self._checked.set()
        self.changes.publish(None)

    def _doubt(self) -> None:
        """Starts over after a call that was not answered: only a new connection tells what is the matter."""
        if self._events is not None:
            self._events.interrupt(self._connection.down())


def _read_events(node_id: str) -> Callable[[StreamingCall, Callable[[Event], None]], None]:
    filters = {"type": "container", "label": f"{NODE}={node_id}", "event": EVENTS}

    def read(call: StreamingCall, put: Callable[[Event], None]) -> None:
        with call.open() as client:
            # The engine answers a moment before it starts to listen; the recent past bridges that.
            since = int(time.time()) - CLOCK_SLACK_S
            events = client.events(since=since, filters=filters, decode=True)
            put(Event("opened"))
            for event in events:
                put(_event(event))

    return read


def _event(message: Mapping[str, Any]) -> Event:
    actor = message.get("Actor") or {}
    code = str((actor.get("Attributes") or {}).get("exitCode", ""))
    return Event(
        str(message.get("Action")), str(actor.get("ID")), int(code) if code.lstrip("-").isdigit() else None
    )
