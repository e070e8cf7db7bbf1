"""The bridge: an ASGI server behind Envoy."""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from gateway.bridge import downloads, exports, pages, replies
from gateway.bridge.events import EVENT_STREAMS, EventStream
from gateway.bridge.health import HealthPage
from gateway.bridge.metrics import PATH as METRICS_PATH
from gateway.bridge.metrics import MetricsPage
from gateway.bridge.relays import RELAYS, Channels
from gateway.bridge.sockets import Endpoint, deny
from services.common.addresses import Address
from services.common.channels import open_channel
from services.common.errors import DomainError
from services.common.identity import TokenVerifier, bearer_token
from services.common.settings import Settings
from services.common.tls import AUTHORITY_FILE, PART_FILE, Certificate, certificate_of, is_network_address
from services.common.tracing import traced_app

PING_INTERVAL_S, PING_TIMEOUT_S = 10.0, 5.0
KEEP_ALIVE_S = 90
"""Longer than Envoy keeps a connection that nobody uses: else a request could meet its end."""
MAX_CLIENT_FRAME_BYTES = 64 * 1024
SHUTDOWN_GRACE_S = 2
POLL_INTERVAL_S = 0.005
MAX_DRAINED_BYTES = 128 * 1024 * 1024
READ = ["GET"]
WRITE = ["POST", "PUT", "PATCH", "DELETE"]


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Certificate | None]:
    """Serves the bridge for the time of the context, and yields the certificate with which it does."""
    async with AsyncExitStack() as stack:
        certificate = await asyncio.to_thread(certificate_of, settings)
        channels = {
            name: await stack.enter_async_context(open_channel(settings, name, certificate))
            for name in settings.addresses
        }
        verifier = TokenVerifier(settings.public_dir)
        await stack.enter_async_context(_serving(build(channels, verifier, settings), settings))
        yield certificate


def build(channels: Channels, verifier: TokenVerifier, settings: Settings) -> Starlette:
    """Returns the application."""
    return Starlette(
        routes=list(_routes(channels, verifier, settings)),
        exception_handlers={405: _wrong_method, Exception: _unexpected},
    )


def _routes(channels: Channels, verifier: TokenVerifier, settings: Settings) -> Iterator[BaseRoute]:
    for relay in RELAYS:
        endpoint = Endpoint(relay, channels, verifier, settings.cors_origins)
        for path in (relay.path, relay.path + "/{rest:path}"):
            yield WebSocketRoute(path, endpoint.__call__)
            yield Route(path, _upgrade_required, methods=READ)
    yield WebSocketRoute("/{rest:path}", _no_socket)
    yield Route(downloads.PATH, downloads.Download(channels, verifier).__call__, methods=READ + WRITE)
    yield Route(exports.PATH, exports.Export(channels, verifier).__call__, methods=READ)
    for path, open_stream in EVENT_STREAMS.items():
        yield Route(path, EventStream(open_stream, channels, verifier).__call__, methods=READ)
    yield Route("/healthz", HealthPage(channels, settings.addresses).__call__, methods=READ)
    for path, page in (
        ("/", pages.index),
        ("/spectrum", pages.spectrum),
        ("/reference", pages.api_reference),
        ("/reference/descriptors.binpb", pages.api_descriptors),
        ("/openapi.json", pages.api_openapi),
        ("/static/{name}", pages.static),
        (METRICS_PATH, MetricsPage(channels).__call__),
    ):
        yield Route(path, _Protected(page, verifier).__call__, methods=READ)
    yield Route("/api/{rest:path}", _Protected(_too_large, verifier, drain=True).__call__, methods=WRITE)
    yield Route("/{rest:path}", _no_page)


class _Protected:
    """Asks for a token first: whoever reaches the socket past Envoy is not let in either."""

    def __init__(self, page: pages.Page, verifier: TokenVerifier, drain: bool = False) -> None:
        self._page = page
        self._verifier = verifier
        self._drain = drain

    async def __call__(self, request: Request) -> Response:
        if self._drain:
            await _drain(request)
        try:
            self._verifier.verify(bearer_token(request.headers.get("authorization")))
        except DomainError as error:
            return replies.from_error(error)
        return await self._page(request)


async def _upgrade_required(_: Request) -> Response:
    reply = replies.from_details(
        426, "FAILED_PRECONDITION", "UPGRADE_REQUIRED", "This path is a WebSocket; ask for an upgrade."
    )
    reply.headers["upgrade"] = "websocket"
    return reply


async def _drain(request: Request) -> None:
    """Reads what a client sends, so that it is ready for an answer when it gets one."""
    received = 0
    async for piece in request.stream():
        received += len(piece)
        if received > MAX_DRAINED_BYTES:
            return


async def _too_large(_: Request) -> Response:
    message = "A JSON body may have 1 MiB; send files as application/x-tar."
    return replies.from_details(413, "RESOURCE_EXHAUSTED", "BODY_TOO_LARGE", message)


async def _wrong_method(_: Request, error: Exception) -> Response:
    message = "This page is only read."
    reply = replies.from_details(405, "UNIMPLEMENTED", "METHOD_NOT_ALLOWED", message)
    reply.headers["allow"] = (getattr(error, "headers", None) or {}).get("Allow", "GET")
    return reply


async def _unexpected(_: Request, __: Exception) -> Response:
    # The server logs the error itself.
    message = "The bridge met an unexpected error; its log has the details."
    return replies.from_details(500, "INTERNAL", "INTERNAL", message)


async def _no_page(_: Request) -> Response:
    return pages.missing()


async def _no_socket(websocket: WebSocket) -> None:
    await deny(websocket, pages.missing())


def _is_trouble(record: logging.LogRecord) -> bool:
    """Tells whether a line of uvicorn's is worth keeping: it says this of refused handshakes too."""
    return "without completing handshake" not in record.getMessage()


class _Server(uvicorn.Server):
    """A server that leaves signals to the process it is part of, and sleeps while nobody asks."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Lets `serve` return."""
        self.should_exit = True
        self._ending.set()

    async def main_loop(self) -> None:
        """Waits for the end; uvicorn's own looks for it, and at the clock, ten times a second."""
        await self.on_tick(0)
        await self._ending.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def _serving(app: Starlette, settings: Settings) -> AsyncIterator[None]:
    config = uvicorn.Config(
        traced_app(app),
        **_tls(settings),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,  # Envoy's.
        ws_ping_interval=PING_INTERVAL_S,
        ws_ping_timeout=PING_TIMEOUT_S,
        ws_max_size=MAX_CLIENT_FRAME_BYTES,
        # Frames are small and the link is short; compression would cost memory for each socket.
        ws_per_message_deflate=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
    )
    logging.getLogger("uvicorn.error").addFilter(_is_trouble)
    server = _Server(config)
    listener = await asyncio.to_thread(_listen, settings.bridge_address)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if serving.done():
                await serving
                raise OSError("the bridge ended at its start")
            await asyncio.sleep(POLL_INTERVAL_S)
        yield
    finally:
        server.end()
        await serving


def _tls(settings: Settings) -> dict[str, Any]:
    folder = settings.internal_tls
    if folder is None or not is_network_address(settings.bridge_address):
        return {}
    return {
        "ssl_certfile": folder / PART_FILE,
        "ssl_ca_certs": str(folder / AUTHORITY_FILE),
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
    }


def _listen(address: str) -> socket.socket:
    place = Address.parse(address)
    if not place.path:
        return socket.create_server((place.host, place.port))
    path = Path(place.path)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    return listener
