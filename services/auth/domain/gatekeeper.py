"""Decides about requests that carry something else than a valid JWT."""

from services.auth.domain.audit import Audit
from services.auth.domain.authenticator import Authenticator
from services.auth.domain.credentials import Basic, OpaqueToken, parse_authorization
from services.auth.domain.directory import Directory
from services.auth.domain.tokens import TokenMint
from services.common.access import Access
from services.common.errors import Unauthenticated
from services.common.identity import Role, TokenVerifier


class Gatekeeper:
    """Turns the credentials of a request into a token that every service can verify."""

    def __init__(
        self,
        directory: Directory,
        authenticator: Authenticator,
        mint: TokenMint,
        verifier: TokenVerifier,
        audit: Audit,
    ) -> None:
        self._directory = directory
        self._authenticator = authenticator
        self._mint = mint
        self._verifier = verifier
        self._audit = audit

    def require_role(self, token: str, role: Role) -> None:
        """Raises `PermissionDenied` unless the token is of a user with this role or a higher one."""
        Access(role).check(self._verifier.verify(token))

    async def admit(self, authorization: str, address: str) -> str:
        """Returns the token to go on with, or raises `Unauthenticated` or `LoginThrottled`."""
        credentials = parse_authorization(authorization)
        if isinstance(credentials, Basic):
            user = await self._authenticator.verify(credentials.username, credentials.password, address)
            await self._audit.basic_accepted(user.name, address)
            return self._mint.internal_token(user.principal, user.generation)
        if isinstance(credentials, OpaqueToken):
            token = self._directory.chute_of(credentials.text)
            if token is None:
                raise Unauthenticated("The token is not valid; log in again.", reason="TOKEN_INVALID")
            return self._mint.internal_token(token.principal, token.generation)
        self._verifier.verify(credentials.text)
        return credentials.text
