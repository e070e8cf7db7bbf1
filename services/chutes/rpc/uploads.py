"""Answers ChuteUploadService."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from paradrop.chutes.v1 import uploads_pb2 as pb
from paradrop.chutes.v1 import uploads_pb2_grpc

from services.chutes.adapters.pieces import Piece
from services.chutes.adapters.uploads import Install, Uploads
from services.chutes.domain.change import Terms
from services.chutes.domain.manager import ChuteManager
from services.chutes.domain.spec import Definition
from services.chutes.rpc.terms import Reply, answer, terms_of
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
        install = self._install(pb.UploadChuteResponse, context, replace=False)
        return await self._uploads.take(_pieces(requests), install)

    async def UploadChuteUpdate(
        self, requests: AsyncIterator[pb.UploadChuteUpdateRequest], context: Any
    ) -> pb.UploadChuteUpdateResponse:
        """Updates a chute, or installs it if it is absent."""
        install = self._install(pb.UploadChuteUpdateResponse, context, replace=True)
        return await self._uploads.take(_named_pieces(requests), install, named=True)

    def _install(self, reply: Callable[..., Reply], context: Any, replace: bool) -> Install[Reply]:
        principal, terms = current_principal(), terms_of(context)

        async def install(definition: Definition, workspace: str | None, first: Piece) -> Reply:
            asked = (definition, workspace, principal, replace, Terms(terms.request_id, first.force))
            chutes = self._chutes
            return await answer(reply, chutes.install, chutes.preview_install, *asked, dry_run=first.dry_run)

        return install


async def _pieces(requests: AsyncIterator[pb.UploadChuteRequest]) -> AsyncIterator[Piece]:
    async for request in requests:
        content = request.content
        yield Piece(content.data, content.content_type, dry_run=request.dry_run)


async def _named_pieces(requests: AsyncIterator[pb.UploadChuteUpdateRequest]) -> AsyncIterator[Piece]:
    async for request in requests:
        content = request.content
        yield Piece(
            content.data,
            content.content_type,
            request.chute,
            force=request.force,
            dry_run=request.dry_run,
        )
