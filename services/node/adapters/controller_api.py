"""Requests to a controller that speaks the HTTP interface of Paradrop 0.13."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import structlog

from services.node.domain.provision import Provision
from services.node.domain.trouble import CREDENTIALS_REFUSED, UNREACHABLE, Trouble

log = structlog.get_logger()

USER_AGENT = "ParaDrop/2.5"
TIMEOUT_S = 30.0
AT_ONCE = 2
INITIAL_BACKOFF_S, MAX_BACKOFF_S = 1.0, 300.0


class RefusedError(Exception):
    """The controller answered with another status than a 2xx."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the controller answered with status {status}")
        self.status = status


class UntrustedError(OSError):
    """The certificate of the controller is not one that this machine trusts."""


def backoffs() -> Iterator[float]:
    """Yields the pauses between tries of what must get through, each twice the one before, in seconds."""
    pause_s = INITIAL_BACKOFF_S
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, MAX_BACKOFF_S)


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
        except requests.exceptions.SSLError:
            raise UntrustedError(f"the certificate of {self._base} is not trusted") from None
        except requests.RequestException as error:
            raise OSError(f"{self._base} does not answer ({type(error).__name__})") from None


class Sender:
    """What is sent for one node, and whether it arrives."""

    def __init__(self, provision: Provision) -> None:
        self._provision = provision
        self.api = ControllerApi(provision)
        self.router = f"/api/routers/{quote(provision.router_id or '', safe='')}"
        """Path of this node at its controller."""
        self.up = asyncio.Event()
        """Set while the last request succeeded."""
        self.trouble: Trouble | None = None
        """Why the last request failed."""

    async def request(
        self, method: str, path: str, document: Any = None, timeout_s: float = TIMEOUT_S
    ) -> Any:
        """Returns the document of a 2xx answer, or its status; raises as `ControllerApi.request`."""
        try:
            status, answer = await self.api.request(method, path, document, timeout_s)
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

    async def surely(self, method: str, path: str, document: Any) -> None:
        """Sends until the controller has it; what it refuses for good is dropped."""
        for pause_s in backoffs():
            try:
                await self.request(method, path, document)
                return
            except (OSError, RefusedError) as error:
                if isinstance(error, RefusedError) and error.status in (400, 404, 409, 410, 422):
                    log.warning("the controller does not take a report", path=path, status=error.status)
                    return
            await asyncio.sleep(pause_s)


async def provision_by_batch(
    defaults: Provision, batch_id: str, batch_key: str, mac: str, zerotier_address: str | None
) -> Provision:
    """Asks the controller for an identity with the key of a batch; raises RefusedError or OSError."""
    api = ControllerApi(defaults)
    name = f"node-{mac.replace(':', '')}"
    document = {"name": name, "key": batch_key, "zerotier_address": zerotier_address}
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
