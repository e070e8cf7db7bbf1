"""The HTTP interface of controllers that speak that of Paradrop 0.13: reports up, updates down."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import jsonpatch
import structlog
from google.protobuf import struct_pb2
from paradrop.chutes.v1 import changes_pb2, changes_pb2_grpc

from services.common.channels import service_metadata
from services.common.errors import DomainError, Unavailable
from services.node.adapters import zerotier
from services.node.adapters.controller_api import TIMEOUT_S, RefusedError, Sender, backoffs
from services.node.adapters.key_files import read_public_key
from services.node.adapters.observer import NodeObserver
from services.node.adapters.outbox import Outbox
from services.node.adapters.state_report import state_report
from services.node.adapters.updates import Updates
from services.node.domain.inventory import Inventory
from services.node.domain.provision import Provision
from services.node.domain.trouble import Trouble

log = structlog.get_logger()

TELEMETRY_INTERVAL_S, MIN_TELEMETRY_INTERVAL_S = 60.0, 1.0
"""Where the host configuration does not say how often reports of the load are wanted, and the shortest."""
STATES_PAUSE_S = 1.0
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
        zerotier_dir: Path,
    ) -> None:
        self._provision = provision
        self._sender = Sender(provision)
        self._updates = Updates(self._sender, chutes, token_file, outbox)
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
            origins=outbox.origins,
            zerotier_dir=zerotier_dir,
        )

    @property
    def up(self) -> asyncio.Event:
        """Set while the last request succeeded."""
        return self._sender.up

    @property
    def trouble(self) -> Trouble | None:
        """Why the last request failed."""
        return self._sender.trouble

    async def run(self) -> None:
        """Reports and asks for good."""
        async with asyncio.TaskGroup() as tasks:
            for work in (
                self._report_ssh_key(),
                self._patch_host_config(),
                self._report_states(),
                self._report_telemetry(),
                self._updates.fetch(),
                self._updates.long_poll(),
            ):
                tasks.create_task(work)

    async def poll(self, timeout_s: float) -> None:
        """Asks for updates now; raises Unavailable if the controller does not answer in time."""
        self._updates.wanted.set()
        try:
            async with asyncio.timeout(timeout_s):
                await self._sender.request("GET", f"{self._sender.router}/updates?completed=false")
        except (TimeoutError, OSError, RefusedError):
            raise Unavailable(
                f"The controller at {self._provision.pdserver} does not answer.",
                reason="CONTROLLER_UNREACHABLE",
                controller=self._provision.pdserver,
            ) from None

    async def _report_states(self) -> None:
        """Reports the whole state at first, and whenever there is something in the outbox."""
        while True:
            self._outbox.added.clear()
            records = await self._outbox.after(0)
            await self._sender.surely("POST", f"{self._sender.router}/states", await self._state())
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
            await self._sender.surely("PATCH", self._sender.router, document)

    async def _patch_host_config(self) -> None:
        """Makes the change that the batch of the node asked for when the node provisioned itself, once."""
        batch = self._provision.told.get("batch") or {}
        if not (batch.get("hostconfig_patch") or batch.get("zerotier_networks")):
            return
        known = await self._outbox.begin_call(PATCH_KEY)
        if known is not None and known.status is not None:
            return
        for pause_s in backoffs():
            if await self._change_host_config(batch):
                break
            await asyncio.sleep(pause_s)
        await self._outbox.end_call(PATCH_KEY, None, b"asked")

    async def _change_host_config(self, batch: Document) -> bool:
        """Asks for the change; False if it must be tried again."""
        document = await self._host_config()
        if not document:
            return False
        change = struct_pb2.Struct()
        try:
            patched = jsonpatch.apply_patch(document, batch.get("hostconfig_patch") or [])
            patched = zerotier.with_networks(patched, batch.get("zerotier_networks"))
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
                    await self._sender.request(
                        "POST", f"{self._sender.router}/telemetry", await self._telemetry()
                    )
            except (OSError, RefusedError, DomainError) as error:
                log.debug("no report of the load", why=str(error))
            await asyncio.sleep(interval_s)

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return service_metadata(self._token_file)


def _telemetry_wishes(host_config: Document) -> tuple[bool, float]:
    """Returns whether reports of the load are wanted, and every how many seconds."""
    found = host_config.get("telemetry")
    wishes = found if isinstance(found, dict) else {}
    interval_s = wishes.get("interval")
    if not isinstance(interval_s, int | float) or not interval_s >= MIN_TELEMETRY_INTERVAL_S:
        interval_s = TELEMETRY_INTERVAL_S
    return wishes.get("enabled") is not False, interval_s
