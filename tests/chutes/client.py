"""A gRPC client of the chute service, as a controller has one."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from paradrop.chutes.v1 import (
    archives_pb2,
    archives_pb2_grpc,
    changes_pb2,
    changes_pb2_grpc,
    chutes_pb2,
    chutes_pb2_grpc,
    uploads_pb2,
    uploads_pb2_grpc,
)

PIECE_BYTES = 64 * 1024
TAR = "application/x-tar"


class Client:
    """One caller with one token."""

    def __init__(self, channel: grpc.aio.Channel, token: str | None) -> None:
        self.metadata: tuple[tuple[str, str], ...] = ()
        if token:
            self.metadata = (("authorization", f"Bearer {token}"),)
        self._chutes = chutes_pb2_grpc.ChuteServiceStub(channel)
        self._changes = changes_pb2_grpc.ChangeServiceStub(channel)
        self.uploads = uploads_pb2_grpc.ChuteUploadServiceStub(channel)
        self._archives = archives_pb2_grpc.ChuteArchiveServiceStub(channel)

    @contextmanager
    def idempotency_key(self, key: str) -> Iterator[None]:
        """Sends a key with each call in the context."""
        before = self.metadata
        self.metadata = (*before, ("idempotency-key", key))
        try:
            yield
        finally:
            self.metadata = before

    async def call(self, rpc: str, **fields: Any) -> Any:
        """Calls a unary RPC by name."""
        stub = self._chutes if hasattr(self._chutes, rpc) else self._changes
        module = chutes_pb2 if stub is self._chutes else changes_pb2
        request = getattr(module, f"{rpc}Request")(**fields)
        return await getattr(stub, rpc)(request, metadata=self.metadata, timeout=60)

    async def call_id(self, rpc: str, **fields: Any) -> int:
        """Calls an RPC that accepts a change and returns its id."""
        return int((await self.call(rpc, **fields)).change_id)

    def stream(self, rpc: str, **fields: Any) -> Any:
        """Opens a streaming RPC by name."""
        stub = self._chutes if hasattr(self._chutes, rpc) else self._changes
        module = chutes_pb2 if stub is self._chutes else changes_pb2
        return getattr(stub, rpc)(getattr(module, f"{rpc}Request")(**fields), metadata=self.metadata)

    async def upload(self, pieces: bytes | Iterable[bytes], content_type: str = TAR) -> int:
        """Sends a new chute and returns the id of its change."""
        return int((await self.send(pieces, content_type)).change_id)

    async def update(self, chute: str, pieces: bytes | Iterable[bytes], content_type: str = TAR) -> int:
        """Sends a chute by its name and returns the id of its change."""
        return int((await self.send(pieces, content_type, chute=chute)).change_id)

    async def send(self, pieces: bytes | Iterable[bytes], content_type: str = TAR, **fields: Any) -> Any:
        """Sends a chute, an update if `fields` name it, and returns the answer."""
        request = (
            uploads_pb2.UploadChuteUpdateRequest if "chute" in fields else uploads_pb2.UploadChuteRequest
        )
        call = self.uploads.UploadChuteUpdate if "chute" in fields else self.uploads.UploadChute
        return await call(_requests(request, fields, pieces, content_type), metadata=self.metadata)

    def exporting(self, chute: str, pause: bool = False) -> Any:
        """Opens the archive of a chute."""
        request = archives_pb2.ExportChuteRequest(chute=chute, pause=pause)
        return self._archives.ExportChute(request, metadata=self.metadata)

    async def export(self, chute: str, pause: bool = False) -> bytes:
        """Returns the archive of a chute."""
        return b"".join([piece.data async for piece in self.exporting(chute, pause)])

    async def import_(
        self, pieces: bytes | Iterable[bytes], content_type: str = "application/gzip", **fields: Any
    ) -> Any:
        """Sends an archive and returns the answer."""
        requests = _requests(archives_pb2.ImportChuteRequest, fields, pieces, content_type)
        return await self._archives.ImportChute(requests, metadata=self.metadata)

    async def watch(self, change_id: int) -> tuple[list[str], changes_pb2.Change]:
        """Watches a change to its end and returns its messages and how it ended."""
        events = [event async for event in self.stream("WatchChange", change_id=change_id)]
        kinds = [event.WhichOneof("event") for event in events]
        assert kinds.count("synced") == 1
        assert kinds[-2:] == ["ended", "end"]
        assert events[-1].end.status.code == 0
        lines = [event.progress.message for event in events if event.HasField("progress")]
        return lines, events[-2].ended

    async def done(self, change_id: int) -> list[str]:
        """Watches a change that must succeed and returns its messages."""
        lines, change = await self.watch(change_id)
        assert change.status == "succeeded", (change.failure, lines)
        return lines

    async def failed(self, change_id: int) -> tuple[list[str], changes_pb2.Change.Failure]:
        """Watches a change that must fail and be undone."""
        lines, change = await self.watch(change_id)
        assert change.status == "failed", lines
        assert change.failure.undone, lines
        return lines, change.failure

    async def chutes(self) -> dict[str, str]:
        """Returns the state of each chute."""
        return {chute.name: chute.state for chute in (await self.call("ListChutes")).chutes}


def _cut(pieces: bytes | Iterable[bytes]) -> Iterable[bytes]:
    if not isinstance(pieces, bytes):
        return pieces
    return [pieces[start : start + PIECE_BYTES] for start in range(0, len(pieces), PIECE_BYTES)]


async def _requests(
    make: Callable[..., Any], fields: Mapping[str, Any], pieces: bytes | Iterable[bytes], content_type: str
) -> AsyncIterator[Any]:
    for piece in _cut(pieces):
        request = make(**fields)
        request.content.content_type, request.content.data = content_type, piece
        yield request


def refusal(error: grpc.RpcError) -> tuple[str, str, str]:
    """Returns the code, the reason and the field of an error."""
    status = rpc_status.from_call(error)
    assert status is not None
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    field = ""
    for detail in status.details[1:]:
        if detail.Unpack(bad):
            field = bad.field_violations[0].field
    return error.code().name, info.reason, field
