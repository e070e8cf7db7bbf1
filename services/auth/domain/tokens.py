"""Makes the tokens that everybody else verifies."""

from dataclasses import dataclass

from services.auth.domain.model import User
from services.auth.domain.ports import Clock, Signer
from services.common.identity import SYSTEM, Principal

ISSUER = "paradrop"
USER_TOKEN_LIFE_S = 30 * 24 * 3600
CLOUD_TOKEN_LIFE_S = 24 * 3600
SERVICE_TOKEN_LIFE_S = 48 * 3600
INTERNAL_TOKEN_LIFE_S = 300
MAX_INTERNAL_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class _Minted:
    token: str
    generation: int
    role: int
    from_s: float
    until_s: float


class TokenMint:
    """Signs tokens of users and of services, and the short ones that stand in for other credentials."""

    def __init__(self, signer: Signer, clock: Clock) -> None:
        self._signer = signer
        self._clock = clock
        self._internal: dict[tuple[str, str], _Minted] = {}

    def user_token(self, user: User) -> str:
        """Returns the token of a login."""
        return self._sign(user.principal, user.generation, USER_TOKEN_LIFE_S)

    def cloud_token(self, principal: Principal) -> str:
        """Returns the token of a controller's user; short, because the node cannot end it earlier."""
        return self._sign(principal, 0, CLOUD_TOKEN_LIFE_S)

    def service_token(self, generation: int) -> str:
        """Returns the token with which services call each other."""
        return self._sign(SYSTEM, generation, SERVICE_TOKEN_LIFE_S)

    def internal_token(self, principal: Principal, generation: int) -> str:
        """Returns what takes the place of credentials that only auth can verify.

        The same one for half of its life: signing costs more than everything else about a request, and
        whoever verifies it knows it already.
        """
        key = (principal.kind, principal.name)
        now = self._clock()
        minted = self._internal.get(key)
        if (
            minted is None
            or minted.generation != generation
            or minted.role != principal.role
            or not minted.from_s <= now < minted.until_s
        ):
            if len(self._internal) >= MAX_INTERNAL_TOKENS:
                self._internal.clear()
            token = self._sign(principal, generation, INTERNAL_TOKEN_LIFE_S)
            until_s = now + INTERNAL_TOKEN_LIFE_S / 2
            minted = self._internal[key] = _Minted(token, generation, principal.role, now, until_s)
        return minted.token

    def _sign(self, principal: Principal, generation: int, life_s: int) -> str:
        now = int(self._clock())
        return self._signer.sign(
            {
                "iss": ISSUER,
                "sub": principal.name,
                "iat": now,
                "exp": now + life_s,
                "role": principal.role.name.lower(),
                "domain": principal.domain,
                "kind": principal.kind,
                "gen": generation,
            }
        )
