"""The HTTP interface of controllers that speak that of Paradrop 0.13: reports up, updates down."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import jsonpatch
import structlog
from google.protobuf import struct_pb2
from paradrop.chutes.v1 import changes_pb2, changes_pb2_grpc, chutes_pb2

from services.common.channels import service_metadata
from services.common.errors import DomainError, Unavailable
from services.node.adapters.controller_api import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    TIMEOUT_S,
    ControllerApi,
    RefusedError,
    UntrustedError,
)
from services.node.adapters.key_files import read_public_key
from services.node.adapters.observer import NodeObserver
from services.node.adapters.outbox import Outbox
from services.node.adapters.state_report import state_report
from services.node.domain.inventory import Inventory
from services.node.domain.provision import Provision
from services.node.domain.trouble import CREDENTIALS_REFUSED, UNREACHABLE, Trouble

log = structlog.get_logger()

LONG_POLL_TIMEOUT_S = 330.0
LEAST_POLL_INTERVAL_S = 1.0
"""Also when a controller answers at once: the original spun here."""
UPDATES_INTERVAL_S = 900.0
TELEMETRY_INTERVAL_S, LEAST_TELEMETRY_INTERVAL_S = 60.0, 1.0
"""Where the host configuration does not say how often reports of the load are wanted, and the shortest."""
STATES_PAUSE_S = 1.0
CREATOR, CREATOR_DOMAIN, CREATOR_ROLE = "paradrop", "paradrop.org", "trusted"
"""Whose an update is that does not say it."""
PATCH_KEY = "hostconfig_patch"

Document = dict[str, Any]
Gather = Callable[[], Awaitable[Document]]


class HttpReports:
    """`services.node.adapters.controllers.Connection` over HTTP."""

    def __init__(
        self,
        provision: Provision,
        *,
        chutes: grpc.aio.Channel,
        token_file: Path,
        outbox: Outbox,
        observer: NodeObserver,
        inventory: Inventory,
        telemetry: Gather,
        status: Gather,
        host_config: Gather,
        ssh_key_file: Path,
    ) -> None:
        self._provision = provision
        self._api = ControllerApi(provision)
        self._changes: Any = changes_pb2_grpc.ChangeServiceStub(chutes)
        self._token_file = token_file
        self._outbox = outbox
        self._telemetry = telemetry
        self._host_config = host_config
        self._ssh_key_file = ssh_key_file
        self._state = partial(
            state_report,
            provision.router_id,
            observer=observer,
            inventory=inventory,
            status=status,
            host_config=host_config,
        )
        self._wanted = asyncio.Event()
        self.up = asyncio.Event()
        """Set while the last request succeeded."""
        self.trouble: Trouble | None = None
        """Why the last request failed."""

    @property
    def _router(self) -> str:
        return f"/api/routers/{quote(self._provision.router_id or '', safe='')}"

    async def run(self) -> None:
        """Reports and asks for good."""
        async with asyncio.TaskGroup() as tasks:
            for work in (
                self._report_ssh_key(),
                self._patch_host_config(),
                self._report_states(),
                self._report_telemetry(),
                self._fetch(),
                self._long_poll(),
            ):
                tasks.create_task(work)

    async def poll(self, timeout_s: float) -> None:
        """Asks for updates now; raises Unavailable if the controller does not answer in time."""
        self._wanted.set()
        try:
            async with asyncio.timeout(timeout_s):
                await self._request("GET", f"{self._router}/updates?completed=false")
        except (TimeoutError, OSError, RefusedError):
            raise Unavailable(
                f"The controller at {self._provision.pdserver} does not answer.",
                reason="CONTROLLER_UNREACHABLE",
                controller=self._provision.pdserver,
            ) from None

    async def _request(
        self, method: str, path: str, document: Any = None, timeout_s: float = TIMEOUT_S
    ) -> Any:
        try:
            status, answer = await self._api.request(method, path, document, timeout_s)
        except (OSError, RefusedError) as error:
            self.up.clear()
            self.trouble = self._why(error)
            raise
        self.up.set()
        return status if answer is None else answer

    def _why(self, error: OSError | RefusedError) -> Trouble:
        reason = UNREACHABLE
        if isinstance(error, RefusedError):
            refused = error.status in (401, 403)
            reason = CREDENTIALS_REFUSED if refused else "CONTROLLER_INCOMPATIBLE"
        elif isinstance(error, UntrustedError):
            reason = "CONTROLLER_CERTIFICATE_UNTRUSTED"
        return Trouble.at(self._provision.pdserver, reason)

    async def _surely(self, method: str, path: str, document: Any) -> None:
        """Sends until the controller has it; what it refuses for good is dropped."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await self._request(method, path, document)
                return
            except (OSError, RefusedError) as error:
                if isinstance(error, RefusedError) and error.status in (400, 404, 409, 410, 422):
                    log.warning("the controller does not take a report", path=path, status=error.status)
                    return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _report_states(self) -> None:
        """Reports the whole state at first, and whenever there is something in the outbox."""
        while True:
            self._outbox.added.clear()
            records = await self._outbox.after(0)
            await self._surely("POST", f"{self._router}/states", await self._state())
            if records:
                await self._outbox.acknowledge(records[-1].sequence)
            if not await self._outbox.after(0, 1):
                await self._outbox.added.wait()
            # What belongs together goes together.
            await asyncio.sleep(STATES_PAUSE_S)

    async def _report_ssh_key(self) -> None:
        """Tells the node's own public key, by which owners of nodes recognise it, if it has one."""
        key = await asyncio.to_thread(read_public_key, self._ssh_key_file)
        if key:
            document = [{"op": "add", "path": "/ssh_public_key", "value": key}]
            await self._surely("PATCH", self._router, document)

    async def _patch_host_config(self) -> None:
        """Makes the change that the batch of the node asked for when the node provisioned itself, once."""
        patch = (self._provision.told.get("batch") or {}).get("hostconfig_patch")
        if not patch:
            return
        known = await self._outbox.begin_call(PATCH_KEY)
        if known is not None and known.status is not None:
            return
        pause_s = FIRST_PAUSE_S
        while not await self._change_host_config(patch):
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        await self._outbox.end_call(PATCH_KEY, None, b"asked")

    async def _change_host_config(self, patch: Any) -> bool:
        """Asks for the change; False if it must be tried again."""
        document = await self._host_config()
        if not document:
            return False
        change = struct_pb2.Struct()
        try:
            patched = jsonpatch.apply_patch(document, patch)
            change.update({"updateClass": "ROUTER", "updateType": "sethostconfig", "hostconfig": patched})
            await self._changes.CreateChange(
                changes_pb2.CreateChangeRequest(change=change),
                # If the node went down after the change was accepted, this is no second one.
                metadata=(*self._metadata(), ("idempotency-key", f"batch-{self._provision.router_id}")),
                timeout=TIMEOUT_S,
            )
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                return False
            log.warning("the patch of the batch is refused", why=error.details())
        except DomainError:
            return False
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, ValueError) as error:
            log.warning("the patch of the batch does not fit the host configuration", why=str(error))
        return True

    async def _report_telemetry(self) -> None:
        while True:
            enabled, interval_s = _telemetry_wishes(await self._host_config())
            try:
                if enabled:
                    await self._request("POST", f"{self._router}/telemetry", await self._telemetry())
            except (OSError, RefusedError, DomainError) as error:
                log.debug("no report of the load", why=str(error))
            await asyncio.sleep(interval_s)

    async def _fetch(self) -> None:
        while True:
            self._wanted.clear()
            with suppress(OSError, RefusedError):
                updates = await self._request("GET", f"{self._router}/updates?completed=false")
                for update in updates if isinstance(updates, list) else ():
                    if isinstance(update, dict) and isinstance(update.get("_id"), str):
                        await self._take(update)
            with suppress(TimeoutError):
                async with asyncio.timeout(UPDATES_INTERVAL_S):
                    await self._wanted.wait()

    async def _long_poll(self) -> None:
        while True:
            began_s = time.monotonic()
            try:
                path = f"{self._router}/updates/poll"
                status, _ = await self._api.request("GET", path, timeout_s=LONG_POLL_TIMEOUT_S)
                if status == 200:
                    self._wanted.set()
            except RefusedError as error:
                if error.status == 404:
                    return  # This controller does not know long polls.
                await asyncio.sleep(LONGEST_PAUSE_S / 10)
            except OSError:
                await asyncio.sleep(LONGEST_PAUSE_S / 10)
            await asyncio.sleep(max(0.0, LEAST_POLL_INTERVAL_S - (time.monotonic() - began_s)))

    async def _take(self, update: Mapping[str, Any]) -> None:
        """Makes a change of an update, once, and reports how it goes."""
        path = f"{self._router}/updates/{quote(update['_id'], safe='')}"
        known = await self._outbox.begin_call(f"update:{update['_id']}")
        if known is not None or update.get("started"):
            success = known is not None and known.status == b"succeeded"
            await self._surely("PATCH", path, _ended(success))
            return
        await self._surely("PATCH", path, [{"op": "replace", "path": "/started", "value": True}])
        success = await self._execute(update, path)
        await self._outbox.end_call(f"update:{update['_id']}", None, b"succeeded" if success else b"failed")
        await self._surely("PATCH", path, _ended(success))

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
                        await self._request("POST", f"{path}/messages", message)
                elif event.HasField("ended"):
                    return bool(event.ended.status == "succeeded")
        except grpc.aio.AioRpcError as error:
            with suppress(OSError, RefusedError):
                message = {"time": time.time(), "message": error.details() or error.code().name}
                await self._request("POST", f"{path}/messages", message)
        except (DomainError, ValueError) as error:
            log.warning("an update of the controller cannot be done", update=update["_id"], why=str(error))
        return False

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return service_metadata(self._token_file)


def _telemetry_wishes(host_config: Document) -> tuple[bool, float]:
    """Returns whether reports of the load are wanted, and every how many seconds."""
    found = host_config.get("telemetry")
    wishes = found if isinstance(found, dict) else {}
    interval_s = wishes.get("interval")
    if not isinstance(interval_s, int | float) or not interval_s >= LEAST_TELEMETRY_INTERVAL_S:
        interval_s = TELEMETRY_INTERVAL_S
    return wishes.get("enabled") is not False, interval_s


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
