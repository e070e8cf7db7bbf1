"""Updates that a controller of Paradrop 0.13 has for its node: fetched, made changes of, reported."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import structlog
from paradrop.chutes.v1 import changes_pb2, changes_pb2_grpc, chutes_pb2

from services.common.channels import service_metadata
from services.common.errors import DomainError
from services.node.adapters.controller_api import TIMEOUT_S, RefusedError, Sender
from services.node.adapters.outbox import Outbox

log = structlog.get_logger()

LONG_POLL_TIMEOUT_S, LONG_POLL_RETRY_S = 330.0, 30.0
MIN_POLL_INTERVAL_S = 1.0
"""Also when a controller answers at once: the original spun here."""
UPDATES_INTERVAL_S = 900.0
CREATOR, CREATOR_DOMAIN, CREATOR_ROLE = "paradrop", "paradrop.org", "trusted"
"""Whose an update is that does not say it."""

Document = dict[str, Any]


class Updates:
    """Takes each update once."""

    def __init__(self, sender: Sender, chutes: grpc.aio.Channel, token_file: Path, outbox: Outbox) -> None:
        self._sender = sender
        self._changes: Any = changes_pb2_grpc.ChangeServiceStub(chutes)
        self._token_file = token_file
        self._outbox = outbox
        self.wanted = asyncio.Event()
        """Set by whoever knows that there are updates."""

    async def fetch(self) -> None:
        """Asks for updates and takes them, for good: now and then, and whenever they are wanted."""
        while True:
            self.wanted.clear()
            with suppress(OSError, RefusedError):
                updates = await self._sender.request("GET", f"{self._sender.router}/updates?completed=false")
                for update in updates if isinstance(updates, list) else ():
                    if isinstance(update, dict) and isinstance(update.get("_id"), str):
                        await self._take(update)
            with suppress(TimeoutError):
                async with asyncio.timeout(UPDATES_INTERVAL_S):
                    await self.wanted.wait()

    async def long_poll(self) -> None:
        """Lets the controller say that there are updates, as long as it knows how."""
        while True:
            began_s = time.monotonic()
            try:
                path = f"{self._sender.router}/updates/poll"
                status, _ = await self._sender.api.request("GET", path, timeout_s=LONG_POLL_TIMEOUT_S)
                if status == 200:
                    self.wanted.set()
            except RefusedError as error:
                if error.status == 404:
                    return  # This controller does not know long polls.
                await asyncio.sleep(LONG_POLL_RETRY_S)
            except OSError:
                await asyncio.sleep(LONG_POLL_RETRY_S)
            await asyncio.sleep(max(0.0, MIN_POLL_INTERVAL_S - (time.monotonic() - began_s)))

    async def _take(self, update: Mapping[str, Any]) -> None:
        """Makes a change of an update, once, and reports how it goes."""
        path = f"{self._sender.router}/updates/{quote(update['_id'], safe='')}"
        known = await self._outbox.begin_call(f"update:{update['_id']}")
        if known is not None or update.get("started"):
            success = known is not None and known.status == b"succeeded"
            await self._sender.surely("PATCH", path, _ended(success))
            return
        await self._sender.surely("PATCH", path, [{"op": "replace", "path": "/started", "value": True}])
        success = await self._execute(update, path)
        await self._outbox.end_call(f"update:{update['_id']}", None, b"succeeded" if success else b"failed")
        await self._sender.surely("PATCH", path, _ended(success))

    async def _execute(self, update: Mapping[str, Any], path: str) -> bool:
        config = update.get("config")
        document = dict(config) if isinstance(config, dict) else {}
        document |= {key: update.get(key) for key in ("updateClass", "updateType")}
        wanted = changes_pb2.CreateChangeRequest()
        try:
            wanted.change.update(document)
            if document["updateClass"] != "ROUTER":  # Those have no user: the controller is the node's owner.
                wanted.on_behalf_of.CopyFrom(_creator(update.get("creator")))
            accepted = await self._changes.CreateChange(wanted, metadata=self._metadata(), timeout=TIMEOUT_S)
            request = changes_pb2.WatchChangeRequest(change_id=accepted.change_id)
            async for event in self._changes.WatchChange(request, metadata=self._metadata()):
                if event.HasField("progress"):
                    message = {"time": event.progress.time, "message": event.progress.message}
                    with suppress(OSError, RefusedError):
                        await self._sender.request("POST", f"{path}/messages", message)
                elif event.HasField("ended"):
                    return await self._note_end(update, event.ended)
        except grpc.aio.AioRpcError as error:
            with suppress(OSError, RefusedError):
                message = {"time": time.time(), "message": error.details() or error.code().name}
                await self._sender.request("POST", f"{path}/messages", message)
        except (DomainError, ValueError) as error:
            log.warning("an update of the controller cannot be done", update=update["_id"], why=str(error))
        return False

    async def _note_end(self, update: Mapping[str, Any], ended: changes_pb2.Change) -> bool:
        """Notes which chute and version of the controller's is installed now; tells whether all went well."""
        if ended.status != "succeeded":
            return False
        if ended.update_type in ("create", "update"):
            origin = {
                "update_id": update["_id"],
                **{key: update.get(key) for key in ("chute_id", "version_id")},
            }
            await self._outbox.set_origin(ended.name, ended.id, origin)
        return True

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return service_metadata(self._token_file)


def _creator(told: Any) -> chutes_pb2.Principal:
    """Returns who asked the controller for an update."""
    found = told if isinstance(told, dict) else {}
    return chutes_pb2.Principal(
        name=str(found.get("name") or CREATOR),
        domain=CREATOR_DOMAIN,
        role=str(found.get("access_level") or CREATOR_ROLE),
    )


def _ended(success: bool) -> list[Document]:
    return [
        {"op": "replace", "path": "/completed", "value": True},
        {"op": "replace", "path": "/success", "value": success},
    ]
