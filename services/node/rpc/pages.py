"""Pages of short lists, by offset."""

from collections.abc import Sequence
from typing import TypeVar

from services.common.errors import InvalidArgument

MAX_PAGE_SIZE = 500

T = TypeVar("T")


def page(items: Sequence[T], page_size: int, page_token: str) -> tuple[Sequence[T], str]:
    """Returns one page and the token of the next one; raises InvalidArgument for a bad size or token."""
    if not 0 <= page_size <= MAX_PAGE_SIZE:
        raise InvalidArgument(
            f"page_size must be from 1 to {MAX_PAGE_SIZE}, not {page_size}.",
            reason="PAGE_SIZE_OUT_OF_RANGE",
            field="page_size",
        )
    if page_token and not (page_token.isascii() and page_token.isdecimal() and len(page_token) < 10):
        raise InvalidArgument(
            "page_token must be the next_page_token of the page before.",
            reason="PAGE_TOKEN_INVALID",
            field="page_token",
        )
    begin = int(page_token or 0)
    end = begin + (page_size or len(items))
    return items[begin:end], str(end) if end < len(items) else ""
