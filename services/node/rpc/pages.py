"""Pages of short lists, by offset."""

from collections.abc import Sequence
from typing import TypeVar

from services.common.paging import page_size, token_invalid

T = TypeVar("T")


def page(items: Sequence[T], size: int, token: str) -> tuple[Sequence[T], str]:
    """Returns one page and the token of the next one, all items for a size of 0.

    InvalidArgument (PAGE_SIZE_OUT_OF_RANGE, PAGE_TOKEN_INVALID).
    """
    if token and not (token.isascii() and token.isdecimal() and len(token) < 10):
        raise token_invalid()
    begin = int(token or 0)
    end = begin + page_size(size, default=len(items))
    return items[begin:end], str(end) if end < len(items) else ""
