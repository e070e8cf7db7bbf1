"""The auth service's tokens of chutes, in memory."""

from itertools import count

from services.common.errors import DomainError


class FakeTokens:
    """Issues and revokes; survives the "crash" of the service that uses it."""

    def __init__(self) -> None:
        self.tokens: dict[str, str] = {}
        self.fault: DomainError | None = None
        self._numbers = count(1)

    def copy(self) -> "FakeTokens":
        """Returns another service with the same tokens."""
        copy = FakeTokens()
        copy.tokens = dict(self.tokens)
        return copy

    async def issue(self, chute: str) -> str:
        if self.fault:
            raise self.fault
        self.tokens[chute] = f"token-{next(self._numbers)}"
        return self.tokens[chute]

    async def revoke(self, chute: str) -> None:
        self.tokens.pop(chute, None)
