"""Pages of lists whose entries have a key."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from services.common.paging import page_size, token_invalid

T = TypeVar("T")


def page(entries: Sequence[T], key: Callable[[T], str], size: int, token: str) -> tuple[Sequence[T], str]:
    """Returns a page of entries and the token of the next; the token is the key of the page's last entry.

    All of them for a size of 0. InvalidArgument (PAGE_SIZE_OUT_OF_RANGE, PAGE_TOKEN_INVALID).
    """
    wanted = page_size(size, default=0)
    begin = 0
    if token:
        begin = next((place for place, entry in enumerate(entries, 1) if key(entry) == token), -1)
        if begin < 0:
            raise token_invalid()
    chosen = entries[begin : begin + wanted] if wanted else entries[begin:]
    more = begin + len(chosen) < len(entries)
    return chosen, key(chosen[-1]) if more and chosen else ""
