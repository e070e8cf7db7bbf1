"""Answers ChuteArchiveService."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from paradrop.chutes.v1 import archives_pb2 as pb
from paradrop.chutes.v1 import archives_pb2_grpc

from services.chutes.adapters.imports import Imports
from services.chutes.adapters.pieces import Piece
from services.chutes.domain.change import Terms
from services.chutes.domain.exporter import Exporter
from services.chutes.domain.manager import ChuteManager
from services.chutes.domain.spec import Definition
from services.chutes.rpc.terms import answer, terms_of
from services.common.identity import current_principal


class ChuteArchiveServicer(archives_pb2_grpc.ChuteArchiveServiceServicer):
    """Translates between the wire and the domain."""

    def __init__(self, exporter: Exporter, imports: Imports, chutes: ChuteManager) -> None:
        self._exporter = exporter
        self._imports = imports
        self._chutes = chutes

    async def ExportChute(
        self, request: pb.ExportChuteRequest, context: Any
    ) -> AsyncIterator[pb.ExportChuteResponse]:
        """Streams the archive of a chute."""
        async with aclosing(
            self._exporter.export(request.chute, current_principal(), request.pause)
        ) as pieces:
            async for piece in pieces:
                yield pb.ExportChuteResponse(data=piece)

    async def ImportChute(
        self, requests: AsyncIterator[pb.ImportChuteRequest], context: Any
    ) -> pb.ImportChuteResponse:
        """Installs a chute from an archive."""
        principal, terms, chutes = current_principal(), terms_of(context), self._chutes

        def admit(definition: Definition, first: Piece) -> None:
            chutes.check_import(definition.spec, principal, first.replace, terms)

        async def install(
            definition: Definition, workspace: str | None, data: str, first: Piece
        ) -> pb.ImportChuteResponse:
            asked = (definition, workspace, principal, first.replace, Terms(terms.request_id, first.force))
            return await answer(
                pb.ImportChuteResponse,
                chutes.install,
                chutes.preview_install,
                *(*asked, data),
                dry_run=first.dry_run,
            )

        return await self._imports.take(_pieces(requests), admit, install)


async def _pieces(requests: AsyncIterator[pb.ImportChuteRequest]) -> AsyncIterator[Piece]:
    async for request in requests:
        content = request.content
        yield Piece(
            content.data,
            content.content_type,
            request.name,
            request.replace,
            request.force,
            request.dry_run,
        )
