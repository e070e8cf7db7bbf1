"""The HTTP interface of controllers that speak that of Paradrop 0.13: reports up, updates down."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import structlog
from google.protobuf import json_format, struct_pb2
from paradrop.chutes.v1 import changes_pb2, changes_pb2_grpc

from services.common.channels import service_metadata
from services.common.errors import DomainError, Unavailable
from services.node.adapters.observer import NodeObserver
from services.node.adapters.outbox import Outbox
from services.node.domain.inventory import Inventory
from services.node.domain.provision import Provision

log = structlog.get_logger()

USER_AGENT = "ParaDrop/2.5"
TIMEOUT_S = 30.0
LONG_POLL_TIMEOUT_S = 330.0
AT_ONCE = 2
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 300.0
LEAST_POLL_INTERVAL_S = 1.0
"""Also when a controller answers at once: the original spun here."""
UPDATES_INTERVAL_S = 900.0
TELEMETRY_INTERVAL_S = 60.0
STATES_INTERVAL_S = 1.0

Document = dict[str, Any]
Gather = Callable[[], Awaitable[Document]]


class RefusedError(Exception):
    """The controller answered with another status than a 2xx."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the controller answered with status {status}")
        self.status = status


class ControllerApi:
    """Requests to a controller, at most two at once, with the node's token."""

    def __init__(self, provision: Provision) -> None:
        self._provision = provision
        self._base = provision.pdserver.rstrip("/")
        self._limit = asyncio.Semaphore(AT_ONCE)
        self._token = ""

    async def request(
        self, method: str, path: str, document: Any = None, timeout_s: float = TIMEOUT_S
    ) -> tuple[int, Any]:
        """Returns status and document of a 2xx answer; else raises RefusedError or OSError."""
        status, answer = await self._send(method, path, document, timeout_s)
        if status == 401:
            credentials = {"id": self._provision.router_id, "password": self._provision.apitoken}
            status, told = await self._send("POST", "/api/auth/router", credentials, TIMEOUT_S)
            if status // 100 != 2 or not isinstance(told, dict) or not isinstance(told.get("token"), str):
                raise RefusedError(401)
            self._token = told["token"]
            status, answer = await self._send(method, path, document, timeout_s)
        if status // 100 != 2:
            raise RefusedError(status)
        return status, answer

    async def _send(self, method: str, path: str, document: Any, timeout_s: float) -> tuple[int, Any]:
        # A long poll waits most of the time and must not hold up the others.
        if timeout_s > TIMEOUT_S:
            return await asyncio.to_thread(self._blocking, method, path, document, timeout_s)
        async with self._limit:
            return await asyncio.to_thread(self._blocking, method, path, document, timeout_s)

    def _blocking(self, method: str, path: str, document: Any, timeout_s: float) -> tuple[int, Any]:
        import requests

        headers = {"accept": "application/json", "user-agent": USER_AGENT}
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        try:
            with requests.request(
                method, self._base + path, json=document, headers=headers, timeout=(10, timeout_s),
                allow_redirects=False,
            ) as answer:  # fmt: skip
                with suppress(ValueError):
                    return answer.status_code, answer.json()
                return answer.status_code, None
        except requests.RequestException as error:
            raise OSError(f"{self._base} does not answer ({type(error).__name__})") from None


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
    ) -> None:
        self._provision = provision
        self._api = ControllerApi(provision)
        self._changes: Any = changes_pb2_grpc.ChangeServiceStub(chutes)
        self._token_file = token_file
        self._outbox = outbox
        self._observer = observer
        self._inventory = inventory
        self._telemetry = telemetry
        self._status = status
        self._host_config = host_config
        self._wanted = asyncio.Event()
        self.up = asyncio.Event()
        """Set while the last request succeeded."""

    @property
    def _router(self) -> str:
        return f"/api/routers/{quote(self._provision.router_id or '', safe='')}"

    async def run(self) -> None:
        """Reports and asks for good."""
        async with asyncio.TaskGroup() as tasks:
            for work in (self._report_states(), self._report_telemetry(), self._fetch(), self._long_poll()):
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
        except (OSError, RefusedError):
            self.up.clear()
            raise
        self.up.set()
        return status if answer is None else answer

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
        sent = 0
        first = True
        while True:
            records = await self._outbox.after(sent)
            if records or first:
                await self._surely("POST", f"{self._router}/states", await self._state())
                first = False
            if records:
                sent = records[-1].sequence
                await self._outbox.acknowledge(sent)
            await asyncio.sleep(STATES_INTERVAL_S)

    async def _report_telemetry(self) -> None:
        while True:
            try:
                await self._request("POST", f"{self._router}/telemetry", await self._telemetry())
            except (OSError, RefusedError, DomainError) as error:
                log.debug("no report of the load", why=str(error))
            await asyncio.sleep(TELEMETRY_INTERVAL_S)

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
        change = struct_pb2.Struct()
        try:
            change.update(document)
            accepted = await self._changes.CreateChange(
                changes_pb2.CreateChangeRequest(change=change), metadata=self._metadata(), timeout=TIMEOUT_S
            )
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

    async def _state(self) -> Document:
        software, hardware = self._inventory.software, self._inventory.hardware
        chutes: Sequence[Document] = []
        status: Document = {}
        with suppress(grpc.aio.AioRpcError, DomainError):
            chutes = [_chute(json_format.MessageToDict(c)) for c in (await self._observer.state()).chutes]
        with suppress(DomainError):
            status = await self._status()
        name, _, product_version = hardware.board.partition(" ")
        return {
            "timestamp": time.time(),
            "name": self._provision.router_id,
            "osVersion": software.os_version,
            "paradropVersion": software.pd_version,
            "pdinstallVersion": None,
            "chutes": chutes,
            "devices": [
                {
                    "name": radio.interfaces[0] if radio.interfaces else radio.phy,
                    "mac": radio.mac,
                    "type": "wifi",
                    "phy": radio.phy,
                    "vendor": radio.vendor_id,
                    "device": radio.device_id,
                    "slot": radio.slot,
                    "id": radio.id,
                }
                for radio in hardware.radios
            ],
            "hostConfig": await self._host_config(),
            "snaps": [],
            "zerotierAddress": None,
            "dmi": {
                "bios_date": software.bios_date,
                "bios_vendor": software.bios_vendor,
                "bios_version": software.bios_version,
                "product_name": name or None,
                "product_serial": None,
                "product_version": product_version or None,
                "sys_vendor": hardware.vendor,
            },
            "status": status,
        }

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return service_metadata(self._token_file)


def _chute(chute: Mapping[str, Any]) -> Document:
    return {
        "name": chute["name"],
        "desired": chute.get("desired_state"),
        "state": chute.get("state"),
        "services": chute.get("services", {}),
        "warning": None,
        "version": chute.get("version"),
        "allocation": None,
        "environment": chute.get("environment", {}),
        "external": None,
        "resources": None,
    }


def _ended(success: bool) -> list[Document]:
    return [
        {"op": "replace", "path": "/completed", "value": True},
        {"op": "replace", "path": "/success", "value": success},
    ]


async def provision_by_batch(defaults: Provision, batch_id: str, batch_key: str, mac: str) -> Provision:
    """Asks the controller for an identity with the key of a batch; raises RefusedError or OSError."""
    api = ControllerApi(defaults)
    document = {"name": f"node-{mac.replace(':', '')}", "key": batch_key, "zerotier_address": None}
    _, told = await api.request("POST", f"/api/batches/{quote(batch_id, safe='')}/provision", document)
    router = told.get("router") if isinstance(told, dict) else None
    if not isinstance(router, dict) or not all(isinstance(router.get(k), str) for k in ("_id", "password")):
        raise RefusedError(200)
    shown = {key: value for key, value in router.items() if key != "password"}
    batch = told.get("batch") if isinstance(told.get("batch"), dict) else {}
    return Provision(
        pdserver=defaults.pdserver,
        wamp_router=defaults.wamp_router,
        router_id=router["_id"],
        apitoken=router["password"],
        since_s=time.time(),
        told={"router": shown, "batch": batch},
    )
