"""The auth service's tokens of chutes, in memory."""

from itertools import count

from services.common.errors import DomainError


class FakeTokens:
    """Issues and revokes; survives the "crash" of the service that uses it."""

    def __init__(self) -> None:
        self.tokens: dict[str, str] = {}
        self.former: dict[str, str] = {}
        self.fault: DomainError | None = None
        self._numbers = count(1)

    def copy(self) -> "FakeTokens":
        """Returns another service with the same tokens."""
        copy = FakeTokens()
        copy.tokens, copy.former = dict(self.tokens), dict(self.former)
        return copy

    async def issue(self, chute: str, former: str = "") -> str:
        if self.fault:
            raise self.fault
        if former not in (self.tokens.get(chute), self.former.get(chute)):
            self.former.pop(chute, None)
        elif former:
            self.former[chute] = former
        self.tokens[chute] = f"token-{next(self._numbers)}"
        return self.tokens[chute]

    async def restore(self, chute: str, former: str) -> None:
        if self.tokens.get(chute) in (None, former):
            return
        if self.former.pop(chute, None) == former:
            self.tokens[chute] = former
        else:
            del self.tokens[chute]

    async def revoke(self, chute: str) -> None:
        self.tokens.pop(chute, None)
        self.former.pop(chute, None)
