"""One Envoy with the bridge and five real gRPC services behind it, for all tests of the gateway."""

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from gateway import envoy
from gateway.bridge import app
from services.common.settings import Settings, load_settings
from tests.gateway.doubles import PASSWORD, USER, Doubles, Keys, as_part
from tests.support.node import free_port

ORIGIN = "https://portal.example"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        return self.json["details"][0]["reason"]


@dataclass
class Gateway:
    """A running gateway as its clients see it."""

    settings: Settings
    doubles: Doubles
    loop: asyncio.AbstractEventLoop
    envoy: envoy.Envoy

    @property
    def address(self) -> str:
        return f"{self.settings.listen_host}:{self.settings.listen_port}"

    @property
    def token(self) -> str:
        return self.doubles.keys.token()

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Runs something in the loop of the services."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: dict[str, str] | None = None,
        token: bool = True,
    ) -> Answer:
        """Sends a request as it is given: the path is not touched, no header is added but the token."""
        connection = HTTPConnection(self.address, timeout=30)
        try:
            connection.request(method, path, body, {**(self.bearer if token else {}), **(headers or {})})
            reply = connection.getresponse()
            return Answer(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    def send_json(self, method: str, path: str, content: Any, **options: Any) -> Answer:
        """Sends JSON."""
        headers = {"content-type": "application/json", **options.pop("headers", {})}
        return self.request(method, path, json.dumps(content), headers, **options)


def basic(user: str = USER, password: str = PASSWORD) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def make_settings(home: Path, **changes: Any) -> Settings:
    environment = {"PARADROP_HOME": str(home), "PARADROP_CORS_ORIGINS": ORIGIN}
    settings = replace(load_settings(environment), listen_port=free_port(), **changes)
    settings.prepare()
    (home / "settings.ini").write_text(f"[base]\nsnapd_interface = {settings.runtime / 'snapd.socket'}\n")
    return settings


Real = Mapping[str, Callable[[Settings], AbstractAsyncContextManager[Any]]]
"""What runs a service itself instead of a double of it, by its name."""


@asynccontextmanager
async def serving(settings: Settings, real: Real) -> AsyncIterator[tuple[Doubles, envoy.Envoy]]:
    doubles = Doubles(Keys(settings.public_dir))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(doubles.serving(settings, without=frozenset(real)))
        for running in real.values():
            await stack.enter_async_context(running(settings))
        await stack.enter_async_context(app.running(as_part(settings, "bridge")))
        yield doubles, await stack.enter_async_context(envoy.running(as_part(settings, "gateway")))


def run_gateway(settings: Settings, real: Real = MappingProxyType({})) -> Iterator[Gateway]:
    """Runs a gateway in a thread of its own, so that tests can be blocking clients."""
    ready = threading.Event()
    state: dict[str, Any] = {}

    async def main() -> None:
        stop = state["stop"] = asyncio.Event()
        state["loop"] = asyncio.get_running_loop()
        async with serving(settings, real) as (doubles, process):
            state["gateway"] = Gateway(settings, doubles, state["loop"], process)
            ready.set()
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            state["error"] = error
            ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait(30)
    if "gateway" not in state:
        raise state.get("error", RuntimeError("the gateway did not start"))
    yield state["gateway"]
    state["loop"].call_soon_threadsafe(state["stop"].set)
    thread.join(30)
    assert "error" not in state, state["error"]
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def shared_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    yield from run_gateway(make_settings(tmp_path_factory.mktemp("gateway")))


@pytest.fixture
def gateway(shared_gateway: Gateway) -> Gateway:
    """The shared gateway; its services have forgotten the test before."""
    shared_gateway.doubles.reset()
    return shared_gateway
