"""Pages of lists."""

from services.common.errors import InvalidArgument

MAX_PAGE_SIZE = 500


def check_page_size(page_size: int) -> None:
    """Raises InvalidArgument unless the size of a page is allowed; 0 stands for the default."""
    if not 0 <= page_size <= MAX_PAGE_SIZE:
        raise InvalidArgument(
            f"page_size must be from 1 to {MAX_PAGE_SIZE}, not {page_size}.",
            reason="PAGE_SIZE_OUT_OF_RANGE",
            field="page_size",
        )


def bad_page_token() -> InvalidArgument:
    """The token of a page is not one that was given out."""
    return InvalidArgument(
        "page_token must be the next_page_token of the page before.",
        reason="PAGE_TOKEN_INVALID",
        field="page_token",
    )
