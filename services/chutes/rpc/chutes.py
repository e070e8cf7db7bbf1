"""Answers ChuteService."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

from google.protobuf import timestamp_pb2
from paradrop.chutes.v1 import chutes_pb2 as pb
from paradrop.chutes.v1 import chutes_pb2_grpc
from paradrop.type.v1 import stream_pb2

from services.chutes.domain.access import may_see
from services.chutes.domain.change import Terms
from services.chutes.domain.demands import read_environment
from services.chutes.domain.folderport import Folders
from services.chutes.domain.logs import DEFAULT_TAIL, LogEvent, LogReader
from services.chutes.domain.manager import ChuteManager, Command
from services.chutes.domain.ports import LoggedLine, TimeSpan
from services.chutes.domain.usage import UsageMeter
from services.chutes.rpc import documents
from services.chutes.rpc.chute_list import ChuteList
from services.chutes.rpc.messages import to_cache, to_config
from services.chutes.rpc.terms import Reply, answer, terms_of
from services.chutes.rpc.usage import DEFAULT_INTERVAL_S, to_usage, usage_responses
from services.common.documents import from_struct
from services.common.errors import InvalidArgument
from services.common.identity import Principal, Role, current_principal
from services.common.paging import page_size
from services.common.streams import heartbeat, with_end

LINES_PER_MESSAGE = 500
CHARACTERS_PER_MESSAGE = 128 * 1024
NANOSECONDS = 1_000_000_000


class ChuteServicer(chutes_pb2_grpc.ChuteServiceServicer):
    """Translates between the wire and the domain."""

    def __init__(
        self,
        chutes: ChuteManager,
        chute_list: ChuteList,
        logs: LogReader,
        usage: UsageMeter,
        folders: Folders,
    ) -> None:
        self._chutes = chutes
        self._list = chute_list
        self._logs = logs
        self._usage = usage
        self._folders = folders

    async def ListChutes(self, request: pb.ListChutesRequest, context: Any) -> pb.ListChutesResponse:
        """Lists the installed chutes."""
        principal = current_principal()
        reply = self._list.reply()
        everything = principal.kind != "chute" and principal.role >= Role.ADMIN
        if everything and not request.page_size and not request.page_token:
            return reply
        size = page_size(request.page_size, default=len(reply.chutes))
        chutes = [
            chute
            for chute in reply.chutes
            if may_see(chute.name, principal) and chute.name > request.page_token
        ]
        page = [self._as_seen_by(principal, chute) for chute in chutes[:size]]
        more = len(page) < len(chutes)
        return pb.ListChutesResponse(chutes=page, next_page_token=page[-1].name if more else "")

    async def WatchChutes(
        self, request: pb.WatchChutesRequest, context: Any
    ) -> AsyncIterator[pb.WatchChutesResponse]:
        """Streams the list of the installed chutes."""
        events = _list_responses(self._list.watch())
        async for response in with_end(events, lambda end: pb.WatchChutesResponse(end=end)):
            yield response

    def _as_seen_by(self, principal: Principal, chute: pb.Chute) -> pb.Chute:
        """Leaves out the environment of somebody else's chute: people keep passwords in it."""
        if self._chutes.may_look_into(chute.name, principal):
            return chute
        seen = pb.Chute()
        seen.CopyFrom(chute)
        seen.ClearField("environment")
        return seen

    async def GetChute(self, request: pb.GetChuteRequest, context: Any) -> pb.GetChuteResponse:
        """Returns one chute."""
        chute = self._chutes.find(request.chute, current_principal())
        return pb.GetChuteResponse(chute=self._list.of(chute))

    async def GetChuteConfig(
        self, request: pb.GetChuteConfigRequest, context: Any
    ) -> pb.GetChuteConfigResponse:
        """Returns the full specification of a chute."""
        chute = self._chutes.find(request.chute, current_principal())
        return pb.GetChuteConfigResponse(config=to_config(chute))

    async def GetChuteCache(self, request: pb.GetChuteCacheRequest, context: Any) -> pb.GetChuteCacheResponse:
        """Returns what the node has worked out for a chute."""
        chute = self._chutes.find(request.chute, current_principal())
        return pb.GetChuteCacheResponse(cache=to_cache(chute, self._folders))

    async def StartChute(self, request: pb.StartChuteRequest, context: Any) -> pb.StartChuteResponse:
        """Starts a stopped chute."""
        terms = terms_of(context)
        return await self._command(pb.StartChuteResponse, "start", request, terms, _environment(request))

    async def StopChute(self, request: pb.StopChuteRequest, context: Any) -> pb.StopChuteResponse:
        """Stops a running chute."""
        return await self._command(pb.StopChuteResponse, "stop", request, terms_of(context, request.force))

    async def RestartChute(self, request: pb.RestartChuteRequest, context: Any) -> pb.RestartChuteResponse:
        """Creates the containers of a chute anew."""
        terms = terms_of(context, request.force)
        return await self._command(pb.RestartChuteResponse, "restart", request, terms, _environment(request))

    async def DeleteChute(self, request: pb.DeleteChuteRequest, context: Any) -> pb.DeleteChuteResponse:
        """Removes a chute."""
        terms = terms_of(context, request.force, request.keep_data)
        return await self._command(pb.DeleteChuteResponse, "delete", request, terms)

    async def _command(
        self,
        reply: Callable[..., Reply],
        command: Command,
        request: Any,
        terms: Terms,
        environment: Mapping[str, str] | None = None,
    ) -> Reply:
        asked = (command, request.chute, current_principal(), environment, terms)
        return await answer(
            reply, self._chutes.command, self._chutes.preview, *asked, dry_run=request.dry_run
        )

    async def InstallChute(self, request: pb.InstallChuteRequest, context: Any) -> pb.InstallChuteResponse:
        """Installs a chute by its description."""
        terms = terms_of(context)
        with documents.told_of_config():
            asked = (documents.read_install(request.config), None, current_principal(), False, terms)
            return await answer(
                pb.InstallChuteResponse,
                self._chutes.install,
                self._chutes.preview_install,
                *asked,
                dry_run=request.dry_run,
            )

    async def UpdateChute(self, request: pb.UpdateChuteRequest, context: Any) -> pb.UpdateChuteResponse:
        """Updates a chute by its description, or installs it if it is absent."""
        terms = terms_of(context, request.force)
        with documents.told_of_config():
            definition = documents.read_install(request.config, request.chute)
            asked = (definition, None, current_principal(), True, terms)
            return await answer(
                pb.UpdateChuteResponse,
                self._chutes.install,
                self._chutes.preview_install,
                *asked,
                dry_run=request.dry_run,
            )

    async def SetChuteConfig(
        self, request: pb.SetChuteConfigRequest, context: Any
    ) -> pb.SetChuteConfigResponse:
        """Gives a chute another specification."""
        terms = terms_of(context, request.force)
        with documents.told_of_config():
            return await answer(
                pb.SetChuteConfigResponse,
                self._chutes.configure,
                self._chutes.preview_configuration,
                *(request.chute, from_struct(request.config), current_principal(), terms),
                dry_run=request.dry_run,
            )

    async def GetChuteSchema(
        self, request: pb.GetChuteSchemaRequest, context: Any
    ) -> pb.GetChuteSchemaResponse:
        """Returns the JSON Schema of descriptions of chutes."""
        return pb.GetChuteSchemaResponse(schema=documents.schema())

    async def LockChute(self, request: pb.LockChuteRequest, context: Any) -> pb.LockChuteResponse:
        """Locks a chute against being taken down."""
        await self._chutes.lock(request.chute, current_principal(), request.reason)
        return pb.LockChuteResponse()

    async def UnlockChute(self, request: pb.UnlockChuteRequest, context: Any) -> pb.UnlockChuteResponse:
        """Ends the lock of a chute."""
        await self._chutes.unlock(request.chute, current_principal())
        return pb.UnlockChuteResponse()

    async def RevokeToken(self, request: pb.RevokeTokenRequest, context: Any) -> pb.RevokeTokenResponse:
        """Ends the token of a chute."""
        await self._chutes.revoke_token(request.chute, current_principal())
        return pb.RevokeTokenResponse()

    async def GetUsage(self, request: pb.GetUsageRequest, context: Any) -> pb.GetUsageResponse:
        """Returns what a chute uses."""
        chute = self._chutes.find(request.chute, current_principal())
        return pb.GetUsageResponse(usage=to_usage(await self._usage.read(chute)))

    async def StreamUsage(
        self, request: pb.StreamUsageRequest, context: Any
    ) -> AsyncIterator[pb.StreamUsageResponse]:
        """Streams what a chute uses."""
        chute = self._chutes.find(request.chute, current_principal())
        usages = self._usage.watch(chute, request.interval_s or DEFAULT_INTERVAL_S)
        async for response in with_end(usage_responses(usages), lambda end: pb.StreamUsageResponse(end=end)):
            yield response

    async def StreamLogs(
        self, request: pb.StreamLogsRequest, context: Any
    ) -> AsyncIterator[pb.StreamLogsResponse]:
        """Streams the output of a chute's containers."""
        chute = self._chutes.find(request.chute, current_principal())
        tail = request.tail if request.HasField("tail") else DEFAULT_TAIL
        span = TimeSpan(_time_ns(request, "since"), _time_ns(request, "until"))
        events = self._logs.read(chute, request.service, tail, request.follow, span)
        async for response in with_end(_log_responses(events), lambda end: pb.StreamLogsResponse(end=end)):
            yield response


def _environment(request: pb.StartChuteRequest | pb.RestartChuteRequest) -> Mapping[str, str] | None:
    if request.HasField("variables"):
        return read_environment(from_struct(request.variables))
    return dict(request.environment) or None


async def _list_responses(
    lists: AsyncIterator[pb.ListChutesResponse | None],
) -> AsyncIterator[pb.WatchChutesResponse]:
    async for found in lists:
        if found is None:
            yield pb.WatchChutesResponse(heartbeat=heartbeat())
        else:
            yield pb.WatchChutesResponse(list=found)


def _time_ns(request: pb.StreamLogsRequest, field: str) -> int | None:
    if not request.HasField(field):  # type: ignore[arg-type]
        return None
    try:
        return int(getattr(request, field).ToNanoseconds())
    except ValueError:
        raise InvalidArgument(f"{field} is no time.", reason="TIME_INVALID", field=field) from None


async def _log_responses(events: AsyncIterator[LogEvent]) -> AsyncIterator[pb.StreamLogsResponse]:
    async for event in events:
        dropped = event.dropped
        for lines in _parted(event.lines):
            yield pb.StreamLogsResponse(lines=pb.LogLines(lines=map(_log_line, lines)), dropped_count=dropped)
            dropped = 0
        if event.synced:
            yield pb.StreamLogsResponse(synced=stream_pb2.Synced(), dropped_count=dropped)
        elif not event.lines:
            yield pb.StreamLogsResponse(heartbeat=heartbeat(), dropped_count=dropped)


def _parted(lines: Sequence[LoggedLine]) -> Iterator[Sequence[LoggedLine]]:
    """Cuts lines into what fits well into messages: each costs much the same, up to some size."""
    start, characters = 0, 0
    for number, line in enumerate(lines):
        characters += len(line.message)
        if number - start + 1 == LINES_PER_MESSAGE or characters > CHARACTERS_PER_MESSAGE:
            yield lines[start : number + 1]
            start, characters = number + 1, 0
    if start < len(lines):
        yield lines[start:]


def _log_line(line: LoggedLine) -> pb.LogLine:
    timestamp = timestamp_pb2.Timestamp(
        seconds=line.timestamp_ns // NANOSECONDS, nanos=line.timestamp_ns % NANOSECONDS
    )
    return pb.LogLine(service=line.service, timestamp=timestamp, message=line.message)
