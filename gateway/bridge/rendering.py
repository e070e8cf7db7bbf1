"""Makes the texts of the pages; loaded when the first one is asked for."""

import json
from functools import cache
from importlib import metadata

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from gateway import descriptors, openapi
from gateway.bridge import reference


def version() -> str:
    """Returns the version of Paradrop."""
    try:
        return metadata.version("paradrop")
    except metadata.PackageNotFoundError:
        return "unpacked"


@cache
def api_reference() -> str:
    """Returns the page that explains every RPC and REST path."""
    content = reference.build(descriptors.load())
    return _environment().get_template("reference.html.j2").render(reference=content, version=version())


@cache
def api_openapi() -> bytes:
    """Returns the OpenAPI document."""
    return json.dumps(openapi.build(descriptors.load(), version())).encode()


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("gateway.bridge", "pages"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=select_autoescape(["j2"], default=True),
    )
