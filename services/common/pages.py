"""Tells where the next page of a list begins, also to those who read the list as a bare JSON array."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from google.protobuf import descriptor_pool

from services.common.boundary import Handler, with_behaviour

HEADER = "next-page-token"
"""Holds the token as it goes into the query of the next request."""


def with_page_header(handler: Handler, method: str) -> Handler:
    """Returns a handler that says the token of the next page in a header too, if its replies have one."""
    inner = handler.unary_unary
    if inner is None or not _has_pages(method):
        return handler

    async def call(request: Any, context: Any) -> Any:
        reply = await inner(request, context)
        # What passes messages on unread has bytes here.
        token = getattr(reply, "next_page_token", "")
        if token:
            await context.send_initial_metadata(((HEADER, quote(token, safe=":")),))
        return reply

    return with_behaviour(handler, call)


def _has_pages(method: str) -> bool:
    try:
        found = descriptor_pool.Default().FindMethodByName(method.strip("/").replace("/", "."))
    except KeyError:
        return False
    return "next_page_token" in found.output_type.fields_by_name
