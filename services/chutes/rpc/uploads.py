"""Answers ChuteUploadService."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from paradrop.chutes.v1 import uploads_pb2 as pb
from paradrop.chutes.v1 import uploads_pb2_grpc

from services.chutes.adapters.uploads import Piece, Uploads
from services.chutes.domain.manager import ChuteManager
from services.chutes.rpc.terms import terms_of
from services.common.identity import current_principal


class ChuteUploadServicer(uploads_pb2_grpc.ChuteUploadServiceServicer):
    """Translates between the wire and the domain."""

    def __init__(self, uploads: Uploads, chutes: ChuteManager) -> None:
        self._uploads = uploads
        self._chutes = chutes

    async def UploadChute(
        self, requests: AsyncIterator[pb.UploadChuteRequest], context: Any
    ) -> pb.UploadChuteResponse:
        """Installs a chute."""
        install = partial(
            self._chutes.install, principal=current_principal(), replace=False, terms=terms_of(context)
        )
        return pb.UploadChuteResponse(change_id=await self._uploads.take(_pieces(requests), install))

    async def UploadChuteUpdate(
        self, requests: AsyncIterator[pb.UploadChuteUpdateRequest], context: Any
    ) -> pb.UploadChuteUpdateResponse:
        """Updates a chute, or installs it if it is absent."""
        install = partial(
            self._chutes.install, principal=current_principal(), replace=True, terms=terms_of(context)
        )
        change_id = await self._uploads.take(_named_pieces(requests), install, named=True)
        return pb.UploadChuteUpdateResponse(change_id=change_id)


async def _pieces(requests: AsyncIterator[pb.UploadChuteRequest]) -> AsyncIterator[Piece]:
    async for request in requests:
        yield Piece(request.content.data, request.content.content_type)


async def _named_pieces(requests: AsyncIterator[pb.UploadChuteUpdateRequest]) -> AsyncIterator[Piece]:
    async for request in requests:
        yield Piece(request.content.data, request.content.content_type, request.chute)
