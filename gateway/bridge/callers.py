"""Who calls, and what is told about that to the services."""

from services.common.identity import TokenVerifier, bearer_token
from services.common.tracing import carried

Metadata = tuple[tuple[str, str], ...]


def metadata_of(authorization: str | None, verifier: TokenVerifier) -> Metadata:
    """Returns the metadata with which a caller's RPCs are sent on; raises Unauthenticated without a good
    token."""
    token = bearer_token(authorization)
    verifier.verify(token)
    return (("authorization", f"Bearer {token}"), *carried())
