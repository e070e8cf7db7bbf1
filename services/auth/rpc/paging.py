"""Page sizes and page tokens."""

from services.common.errors import InvalidArgument

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 500


def page_size(asked: int) -> int:
    """Returns how many entries a page has."""
    if asked < 0:
        raise InvalidArgument(
            "The page size cannot be negative; leave it out for the default.",
            reason="PAGE_SIZE_INVALID",
            field="page_size",
        )
    return min(asked or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def token_invalid() -> InvalidArgument:
    """Refuses a page token that this service did not give out."""
    return InvalidArgument(
        "The page token is not one of this list; begin again without one.",
        reason="PAGE_TOKEN_INVALID",
        field="page_token",
    )
