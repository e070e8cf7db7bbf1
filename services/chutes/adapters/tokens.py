"""Gets tokens for chutes from the auth service."""

from pathlib import Path

import grpc
from paradrop.auth.v1 import auth_pb2, auth_pb2_grpc

from services.common.channels import service_metadata
from services.common.errors import Unavailable

TIMEOUT_S = 10.0


class AuthTokens:
    """Asks the auth service with the node's own token."""

    def __init__(self, channel: grpc.aio.Channel, token_file: Path) -> None:
        self._stub = auth_pb2_grpc.AuthServiceStub(channel)
        self._token_file = token_file

    async def issue(self, chute: str, former: str = "") -> str:
        """Issues a new token and ends the earlier one, which `restore` may bring back if it is `former`."""
        request = auth_pb2.IssueChuteTokenRequest(chute=chute, former=former)
        try:
            response = await self._stub.IssueChuteToken(
                request, timeout=TIMEOUT_S, metadata=service_metadata(self._token_file)
            )
        except grpc.aio.AioRpcError as error:
            raise _refused(error) from error
        return response.token

    async def restore(self, chute: str, former: str) -> None:
        """Takes `issue` back; a token that had been revoked before stays revoked."""
        request = auth_pb2.RestoreChuteTokenRequest(chute=chute, former=former)
        try:
            await self._stub.RestoreChuteToken(
                request, timeout=TIMEOUT_S, metadata=service_metadata(self._token_file)
            )
        except grpc.aio.AioRpcError as error:
            raise _refused(error) from error

    async def revoke(self, chute: str) -> None:
        """Ends the chute's token."""
        request = auth_pb2.RevokeChuteTokenRequest(chute=chute)
        try:
            await self._stub.RevokeChuteToken(
                request, timeout=TIMEOUT_S, metadata=service_metadata(self._token_file)
            )
        except grpc.aio.AioRpcError as error:
            raise _refused(error) from error


def _refused(error: grpc.aio.AioRpcError) -> Unavailable:
    return Unavailable(
        f"The auth service did not manage the chute's token: {error.details()}. Try again in a moment.",
        reason="TOKEN_SERVICE_FAILED",
        status=error.code().name,
    )
