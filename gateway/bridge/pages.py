"""The pages: what runs here, and the reference of the API."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import cache
from importlib import metadata
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from gateway import descriptors, openapi
from gateway.bridge import reference, replies

Page = Callable[[Request], Awaitable[Response]]

STATIC = Path(__file__).with_name("static")
TYPES = {".css": "text/css", ".js": "text/javascript"}
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


async def index(_: Request) -> Response:
    """Says what runs here."""
    return HTMLResponse(await asyncio.to_thread(_index), headers=HEADERS)


async def api_reference(_: Request) -> Response:
    """Explains every RPC and REST path."""
    return HTMLResponse(await asyncio.to_thread(_reference), headers=HEADERS)


async def api_descriptors(_: Request) -> Response:
    """Returns the descriptors, for tools that can read them."""
    content = (await asyncio.to_thread(descriptors.load)).SerializeToString()
    return Response(content, media_type="application/octet-stream", headers=HEADERS)


async def api_openapi(_: Request) -> Response:
    """Returns the OpenAPI document of the JSON interface."""
    content = await asyncio.to_thread(_openapi)
    return Response(content, media_type="application/json", headers=HEADERS)


async def static(request: Request) -> Response:
    """Returns a file that the pages need."""
    file = STATIC / request.path_params["name"]
    content = await asyncio.to_thread(_read, file) if file.parent == STATIC else None
    if content is None:
        return missing()
    return Response(content, media_type=TYPES.get(file.suffix), headers=HEADERS)


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


def version() -> str:
    """Returns the version of Paradrop."""
    try:
        return metadata.version("paradrop")
    except metadata.PackageNotFoundError:
        return "unpacked"


@cache
def _index() -> str:
    return _environment().get_template("index.html.j2").render(version=version())


@cache
def _reference() -> str:
    content = reference.build(descriptors.load())
    return _environment().get_template("reference.html.j2").render(reference=content, version=version())


@cache
def _openapi() -> bytes:
    return json.dumps(openapi.build(descriptors.load(), version())).encode()


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("gateway.bridge", "pages"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=select_autoescape(["j2"], default=True),
    )
