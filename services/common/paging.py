"""Page sizes and page tokens of lists."""

from services.common.errors import InvalidArgument

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 500


def page_size(asked: int, default: int = DEFAULT_PAGE_SIZE) -> int:
    """Returns how many entries a page has, or raises InvalidArgument; 0 stands for the default."""
    if not 0 <= asked <= MAX_PAGE_SIZE:
        raise InvalidArgument(
            f"page_size must be from 1 to {MAX_PAGE_SIZE}, not {asked}; leave it out for the default.",
            reason="PAGE_SIZE_OUT_OF_RANGE",
            field="page_size",
        )
    return asked or default


def token_invalid() -> InvalidArgument:
    """Refuses a page token that this service did not give out."""
    return InvalidArgument(
        "page_token must be the next_page_token of the page before; begin again without one.",
        reason="PAGE_TOKEN_INVALID",
        field="page_token",
    )
