"""Answers ChangeService."""

from collections.abc import AsyncIterator
from typing import Any, get_args

from paradrop.chutes.v1 import changes_pb2 as pb
from paradrop.chutes.v1 import changes_pb2_grpc
from paradrop.type.v1 import stream_pb2

from services.chutes.domain.change import Change, Status
from services.chutes.domain.chute import Actor
from services.chutes.domain.factoryreset import KEPT, REMOVED
from services.chutes.domain.manager import ChuteManager
from services.chutes.domain.nodemanager import NodeManager
from services.chutes.domain.queue import ChangeQueue
from services.chutes.domain.watch import ChangeWatcher, WatchEvent
from services.chutes.rpc.behalf import asker
from services.chutes.rpc.change_documents import INSTALL_FIELD, WantedInstall, WantedNodeChange, read_change
from services.chutes.rpc.documents import told_of_config
from services.chutes.rpc.messages import to_change, to_plan
from services.chutes.rpc.terms import answer, terms_of
from services.common.documents import bare
from services.common.errors import InvalidArgument
from services.common.identity import current_principal
from services.common.paging import MAX_PAGE_SIZE, page_size, token_invalid
from services.common.pending import leave_pending
from services.common.streams import heartbeat, with_end


class ChangeServicer(changes_pb2_grpc.ChangeServiceServicer):
    """Translates between the wire and the domain."""

    def __init__(
        self, queue: ChangeQueue, chutes: ChuteManager, node: NodeManager, watcher: ChangeWatcher
    ) -> None:
        self._queue = queue
        self._chutes = chutes
        self._node = node
        self._watcher = watcher

    async def ListChanges(self, request: pb.ListChangesRequest, context: Any) -> pb.ListChangesResponse:
        """Lists the changes: running, queued and, if asked, ended."""
        size = page_size(request.page_size, default=MAX_PAGE_SIZE)
        if request.status not in ("", *get_args(Status)):
            raise _status_unknown(request.status)
        ended = request.include_ended or request.status in ("succeeded", "failed")
        changes = [*self._queue.unfinished(), *(self._queue.ended() if ended else ())]
        after = _read_token(request.page_token)
        wanted = sorted(
            (change for change in changes if _order(change) > after and _is_wanted(change, request)),
            key=_order,
        )
        page = wanted[:size]
        token = ":".join(map(str, _order(page[-1]))) if len(page) < len(wanted) else ""
        return pb.ListChangesResponse(changes=map(to_change, page), next_page_token=token)

    async def GetChange(self, request: pb.GetChangeRequest, context: Any) -> pb.GetChangeResponse:
        """Returns one change."""
        return pb.GetChangeResponse(change=to_change(self._queue.find(request.change_id)))

    async def CreateChange(self, request: pb.CreateChangeRequest, context: Any) -> pb.CreateChangeResponse:
        """Accepts a change given as a document."""
        wanted = read_change(request.change, self._node.types)
        principal = asker(request)
        terms = terms_of(context, wanted.force, wanted.keep_data)
        reply, dry_run = pb.CreateChangeResponse, request.dry_run
        if isinstance(wanted, WantedNodeChange):
            asked = (wanted.type, wanted.payload, principal, terms)
            return await answer(reply, self._node.accept, self._node.preview, *asked, dry_run=dry_run)
        chutes = self._chutes
        if isinstance(wanted, WantedInstall):
            with told_of_config(INSTALL_FIELD):
                install = (wanted.definition, None, principal, wanted.replace, terms)
                return await answer(reply, chutes.install, chutes.preview_install, *install, dry_run=dry_run)
        command = (wanted.command, wanted.chute, principal, wanted.environment, terms)
        return await answer(reply, chutes.command, chutes.preview, *command, dry_run=dry_run)

    async def SetHostConfig(self, request: pb.SetHostConfigRequest, context: Any) -> pb.SetHostConfigResponse:
        """Accepts a change of the host configuration; the document is bare or in an envelope."""
        payload = {"hostconfig": bare(request.config), "confirm_timeout_s": request.confirm_timeout_s}
        asked = ("sethostconfig", payload, current_principal(), terms_of(context))
        return await answer(
            pb.SetHostConfigResponse, self._node.accept, self._node.preview, *asked, dry_run=request.dry_run
        )

    async def WatchChange(
        self, request: pb.WatchChangeRequest, context: Any
    ) -> AsyncIterator[pb.WatchChangeResponse]:
        """Streams the progress of a change."""
        change = self._watcher.find(request.change_id, Actor.of(current_principal()))
        events = _watch_responses(self._watcher.watch(change))
        async for response in with_end(events, lambda end: pb.WatchChangeResponse(end=end)):
            yield response

    async def WatchChanges(
        self, request: pb.WatchChangesRequest, context: Any
    ) -> AsyncIterator[pb.WatchChangesResponse]:
        """Streams all changes."""
        events = _all_responses(self._watcher.watch_all())
        async for response in with_end(events, lambda end: pb.WatchChangesResponse(end=end)):
            yield response

    async def FactoryReset(self, request: pb.FactoryResetRequest, context: Any) -> pb.FactoryResetResponse:
        """Sets the node back, or tells what that would mean."""
        reply = pb.FactoryResetResponse(
            success=True,
            message="Nothing was done: this was a dry run.",
            removed=[
                *(f"chute {chute.name}" for chute in self._chutes.visible(current_principal())),
                *REMOVED,
            ],
            kept=KEPT,
        )
        payload = {"chutes": list(request.chutes)} if request.chutes else {}
        asked = ("factoryreset", payload, current_principal(), terms_of(context))
        if request.dry_run:
            reply.plan.CopyFrom(to_plan(await self._node.preview(*asked)))
        else:
            reply.change_id = await self._node.accept(*asked)
            reply.message = f"Chute PARADROP factoryreset was accepted; watch change {reply.change_id}."
        return reply

    async def CancelChange(self, request: pb.CancelChangeRequest, context: Any) -> pb.CancelChangeResponse:
        """Cancels a change."""
        user = Actor.of(current_principal())
        await self._queue.cancel(self._watcher.find(request.change_id, user), user.name)
        return pb.CancelChangeResponse()


leave_pending(ChangeServicer, pb.DESCRIPTOR.services_by_name["ChangeService"])


async def _watch_responses(events: AsyncIterator[WatchEvent]) -> AsyncIterator[pb.WatchChangeResponse]:
    async for event in events:
        dropped = event.dropped
        if event.moved:
            yield pb.WatchChangeResponse(change=to_change(event.moved), dropped_count=dropped)
            continue
        for time_s, message in event.lines:
            yield pb.WatchChangeResponse(
                progress=pb.Progress(time=time_s, message=message), dropped_count=dropped
            )
            dropped = 0
        if event.synced:
            yield pb.WatchChangeResponse(synced=stream_pb2.Synced())
        elif event.ended:
            yield pb.WatchChangeResponse(ended=to_change(event.ended))
        elif not event.lines:
            yield pb.WatchChangeResponse(heartbeat=heartbeat(), dropped_count=dropped)


async def _all_responses(events: AsyncIterator[WatchEvent]) -> AsyncIterator[pb.WatchChangesResponse]:
    async for event in events:
        if event.moved:
            yield pb.WatchChangesResponse(change=to_change(event.moved))
        elif event.synced:
            yield pb.WatchChangesResponse(synced=stream_pb2.Synced())
        else:
            yield pb.WatchChangesResponse(heartbeat=heartbeat())


def _is_wanted(change: Change, request: pb.ListChangesRequest) -> bool:
    return (
        request.chute in ("", change.request.chute)
        and request.status in ("", change.status)
        and request.update_type in ("", change.request.type)
        and request.user in ("", change.request.user.name)
    )


def _status_unknown(status: str) -> InvalidArgument:
    return InvalidArgument(
        f"status must be one of {', '.join(get_args(Status))}, not {status!r}.",
        reason="STATUS_UNKNOWN",
        field="status",
    )


def _order(change: Change) -> tuple[int, int]:
    if change.ended:
        return 2, -change.id
    return (0 if change.status == "processing" else 1), change.id


def _read_token(token: str) -> tuple[int, int]:
    if not token:
        return -1, 0
    group, _, number = token.partition(":")
    try:
        return int(group), int(number)
    except ValueError:
        raise token_invalid() from None
