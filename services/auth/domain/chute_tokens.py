"""Issues and ends the tokens of chutes."""

import secrets

from services.auth.domain.directory import Directory, digest
from services.auth.domain.model import MAX_CHUTE_NAME_BYTES
from services.common.errors import InvalidArgument

TOKEN_BYTES = 16


class ChuteTokens:
    """One token for each chute that has one."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def issue(self, chute: str, former: str = "") -> str:
        """Returns a new token of a chute; the one before ends.

        If that is `former`, `restore` can bring it back; issuing several times in between changes nothing
        about that.
        """
        _check_chute(chute)
        token = secrets.token_hex(TOKEN_BYTES)

        async def work() -> None:
            before, known = self._directory.token_of(chute), digest(former)
            is_known = before is not None and known in (before.digest, before.former)
            await self._directory.put_chute_token(
                chute, digest(token), known if former and is_known else None
            )

        await self._directory.change(work)
        return token

    async def restore(self, chute: str, former: str) -> None:
        """Takes `issue` back: the token before is good again, unless it had ended before; then none is."""
        _check_chute(chute)

        async def work() -> None:
            before, known = self._directory.token_of(chute), digest(former)
            if before is None or before.digest == known:
                return
            if before.former == known:
                await self._directory.put_chute_token(chute, known)
            else:
                await self._directory.delete_chute_token(chute)

        await self._directory.change(work)

    async def revoke(self, chute: str) -> None:
        """Ends the token of a chute, if it has one."""
        _check_chute(chute)

        async def work() -> None:
            await self._directory.delete_chute_token(chute)

        await self._directory.change(work)


def _check_chute(chute: str) -> None:
    if not chute or len(chute.encode()) > MAX_CHUTE_NAME_BYTES:
        raise InvalidArgument(
            f"Name the chute, in 1 to {MAX_CHUTE_NAME_BYTES} bytes.",
            reason="CHUTE_NAME_INVALID",
            field="chute",
            max_bytes=str(MAX_CHUTE_NAME_BYTES),
        )
