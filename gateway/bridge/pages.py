"""The pages: the portal, which is files, and the reference of the API."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from gateway import descriptors
from gateway.bridge import replies

Page = Callable[[Request], Awaitable[Response]]

PORTAL = Path(__file__).parents[2] / "portal"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


async def index(_: Request) -> Response:
    """Shows what runs here."""
    return await _file(PORTAL / "index.html")


async def spectrum(_: Request) -> Response:
    """Shows the spectrum live."""
    return await _file(PORTAL / "spectrum.html")


async def api_reference(_: Request) -> Response:
    """Explains every RPC and REST path."""
    return HTMLResponse(await asyncio.to_thread(_rendered, "api_reference"), headers=HEADERS)


async def api_descriptors(_: Request) -> Response:
    """Returns the descriptors, for tools that can read them."""
    content = (await asyncio.to_thread(descriptors.load)).SerializeToString()
    return Response(content, media_type="application/octet-stream", headers=HEADERS)


async def api_openapi(_: Request) -> Response:
    """Returns the OpenAPI document of the JSON interface."""
    content = await asyncio.to_thread(_rendered, "api_openapi")
    return Response(content, media_type="application/json", headers=HEADERS)


async def static(request: Request) -> Response:
    """Returns a file that the pages need."""
    file = PORTAL / request.path_params["name"]
    return await _file(file) if file.parent == PORTAL and file.suffix in TYPES else missing()


async def _file(file: Path) -> Response:
    content = await asyncio.to_thread(_read, file)
    return missing() if content is None else Response(content, media_type=TYPES[file.suffix], headers=HEADERS)


def _read(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def missing() -> Response:
    """Returns the reply for a path that is nothing."""
    return replies.from_details(
        404,
        "NOT_FOUND",
        "PATH_NOT_FOUND",
        "There is nothing at this path; the API is under /api/v1, see /reference.",
    )


def _rendered(name: str) -> Any:
    # What makes pages takes 6 MB and half a second to load, and many a node is never looked at by a person.
    from gateway.bridge import rendering

    return getattr(rendering, name)()
