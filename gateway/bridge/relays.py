"""Which RPC stands behind which WebSocket, and what of its messages a browser gets to see."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from paradrop.airshark.v1 import airshark_pb2, airshark_pb2_grpc
from paradrop.chutes.v1 import changes_pb2, changes_pb2_grpc, chutes_pb2, chutes_pb2_grpc
from paradrop.network.v1 import network_pb2, network_pb2_grpc
from paradrop.node.v1 import node_pb2, node_pb2_grpc

from gateway.bridge.callers import Metadata
from services.common.errors import InvalidArgument, NotFound

LOG_TAIL_LINES = 200
MAX_QUESTIONS = 16
STATUS_TIMEOUT_S = 5.0
MAX_ATTEMPTS = 10
ERROR_OF_GRPC = "Internal error from Core"
"""What gRPC says when a message could not be sent."""
MAX_INT32 = 2**31 - 1

Frame = str | bytes
Channels = Mapping[str, grpc.aio.Channel]
Call = Any
"""A running RPC that yields messages and can be cancelled."""


@dataclass(frozen=True, slots=True)
class Relay:
    """A WebSocket path and the RPC behind it."""

    path: str
    service: str
    open: Callable[[grpc.aio.Channel, Mapping[str, str], Metadata], Call]
    """Starts the RPC for the variables of a path and the parameters of the query."""
    frames: Callable[[Any], Iterator[Frame]]
    """Returns what of a message goes to the client."""
    incoming: Callable[[Call, Frame], Any] | None = None
    """What to do with a frame of the client; None ignores it."""


def _watch_change(channel: grpc.aio.Channel, variables: Mapping[str, str], metadata: Metadata) -> Call:
    text = variables["id"]
    if not text.isascii() or not text.isdecimal() or int(text) > MAX_INT32:
        raise NotFound(f"There is no change '{text}'.", reason="CHANGE_NOT_FOUND", change=text)
    request = changes_pb2.WatchChangeRequest(change_id=int(text))
    return changes_pb2_grpc.ChangeServiceStub(channel).WatchChange(request, metadata=metadata)


def _change_frames(message: changes_pb2.WatchChangeResponse) -> Iterator[Frame]:
    if message.HasField("progress"):
        yield json.dumps({"time": message.progress.time, "message": message.progress.message})


def _chute_logs(channel: grpc.aio.Channel, variables: Mapping[str, str], metadata: Metadata) -> Call:
    request = chutes_pb2.StreamLogsRequest(chute=variables["chute"], tail=LOG_TAIL_LINES, follow=True)
    return chutes_pb2_grpc.ChuteServiceStub(channel).StreamLogs(request, metadata=metadata)


def _chute_log_frames(message: chutes_pb2.StreamLogsResponse) -> Iterator[Frame]:
    if message.dropped_count:
        skipped = f"({message.dropped_count} lines were skipped: this reader is too slow)"
        now = Timestamp()
        now.GetCurrentTime()
        yield _log_line("paradrop", now, skipped)
    for line in message.lines.lines:
        yield _log_line(line.service, line.timestamp, line.message)


def _log_line(service: str, time: Timestamp, message: str) -> str:
    seconds = datetime.fromtimestamp(time.seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return json.dumps({"service": service, "timestamp": f"{seconds}.{time.nanos:09d}Z", "message": message})


def _node_logs(channel: grpc.aio.Channel, _: Mapping[str, str], metadata: Metadata) -> Call:
    stub = node_pb2_grpc.NodeServiceStub(channel)
    return stub.StreamLogs(node_pb2.StreamLogsRequest(), metadata=metadata)


def _node_log_frames(message: node_pb2.StreamLogsResponse) -> Iterator[Frame]:
    yield from (line.message for line in message.lines.lines)


def _spectrum(channel: grpc.aio.Channel, _: Mapping[str, str], metadata: Metadata) -> Call:
    stub = airshark_pb2_grpc.AirsharkServiceStub(channel)
    return stub.SubscribeRaw(airshark_pb2.SubscribeRawRequest(), metadata=metadata)


def _spectrum_frames(message: airshark_pb2.SubscribeRawResponse) -> Iterator[Frame]:
    if message.HasField("batch"):
        yield message.batch.data


def _analyzer(channel: grpc.aio.Channel, _: Mapping[str, str], metadata: Metadata) -> Call:
    stub = airshark_pb2_grpc.AirsharkServiceStub(channel)
    return stub.SubscribeAnalyzer(airshark_pb2.SubscribeAnalyzerRequest(), metadata=metadata)


def _analyzer_frames(message: airshark_pb2.SubscribeAnalyzerResponse) -> Iterator[Frame]:
    if message.HasField("detection"):
        yield json_format.MessageToJson(message.detection, indent=None)


def watching(
    rpc: str, messages: Any = airshark_pb2, stub: Any = airshark_pb2_grpc.AirsharkServiceStub
) -> Callable[[grpc.aio.Channel, Mapping[str, str], Metadata], Call]:
    """Returns what opens a stream of the spectrum, or of another service, with the query as its request."""
    request_type = getattr(messages, f"{rpc}Request")

    def open(channel: grpc.aio.Channel, variables: Mapping[str, str], metadata: Metadata) -> Call:
        fields = {name: value for name, value in variables.items() if name != "rest"}
        try:
            request = json_format.ParseDict(fields, request_type())
        except json_format.ParseError as error:
            # Says which field is wrong, and nothing of ours.
            raise InvalidArgument(f"The query is wrong: {error}", reason="QUERY_INVALID") from None
        return getattr(stub(channel), rpc)(request, metadata=metadata)

    return open


def _json_frames(message: Message) -> Iterator[Frame]:
    yield json_format.MessageToJson(message, indent=None, always_print_fields_with_no_presence=True)


def _control_hostapd(channel: grpc.aio.Channel, variables: Mapping[str, str], metadata: Metadata) -> Call:
    target = network_pb2.HostapdTarget(chute=variables["chute"], network=variables["network"])
    stub = network_pb2_grpc.NetworkServiceStub(channel)
    return _Control(lambda: stub.ControlHostapd(metadata=metadata), target)


class _Control:
    """A call that says first which hostapd is meant."""

    def __init__(self, begin: Callable[[], Any], target: network_pb2.HostapdTarget) -> None:
        self._begin = begin
        self._call = begin()
        self._target = target

    async def __aiter__(self) -> AsyncIterator[network_pb2.ControlHostapdResponse]:
        for _ in range(MAX_ATTEMPTS):
            try:
                await self._call.write(network_pb2.ControlHostapdRequest(target=self._target))
                break
            except grpc.aio.AioRpcError as error:
                # The service ended the call before it read this, and gRPC has lost how.
                if error.details() != ERROR_OF_GRPC:
                    raise
                self._call = self._begin()
            except asyncio.InvalidStateError:
                break  # The same, but how is known.
        async for message in self._call:
            yield message

    async def write(self, datagram: bytes) -> None:
        await self._call.write(network_pb2.ControlHostapdRequest(datagram=datagram))

    def cancel(self) -> None:
        self._call.cancel()


def _control_frames(message: network_pb2.ControlHostapdResponse) -> Iterator[Frame]:
    if message.HasField("datagram"):
        yield message.datagram.decode(errors="replace")


async def _send_datagram(call: Call, frame: Frame) -> None:
    await call.write(frame.encode() if isinstance(frame, str) else frame)


def _status(channel: grpc.aio.Channel, _: Mapping[str, str], metadata: Metadata) -> Call:
    return _Refreshed(node_pb2_grpc.NodeServiceStub(channel), metadata)


class _Refreshed:
    """Calls for a status each time the client asks; what it asks beyond MAX_QUESTIONS at once is lost."""

    def __init__(self, stub: Any, metadata: Metadata) -> None:
        self._stub = stub
        self._metadata = metadata
        self._questions: asyncio.Queue[None] = asyncio.Queue(MAX_QUESTIONS)

    async def __aiter__(self) -> AsyncIterator[node_pb2.GetStatusResponse | None]:
        # Tells at the handshake whether the caller may have it at all.
        await self._read()
        yield None
        while True:
            await self._questions.get()
            yield await self._read()

    async def _read(self) -> node_pb2.GetStatusResponse:
        request = node_pb2.GetStatusRequest()
        status: node_pb2.GetStatusResponse = await self._stub.GetStatus(
            request, metadata=self._metadata, timeout=STATUS_TIMEOUT_S
        )
        return status

    async def refresh(self, frame: Frame) -> None:
        if frame == "refresh" and not self._questions.full():
            self._questions.put_nowait(None)

    def cancel(self) -> None:
        """Nothing is left to cancel when the reader of the iterator is gone."""


def _status_frames(message: node_pb2.GetStatusResponse | None) -> Iterator[Frame]:
    if message is not None:
        document = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
        yield json.dumps(_whole(document))


def _whole(value: Any) -> Any:
    """Returns a document with whole numbers written as such: byte counts are doubles only on the wire."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


async def _refresh(call: Call, frame: Frame) -> None:
    await call.refresh(frame)


RELAYS = (
    Relay("/ws/changes/{id}/stream", "chutes", _watch_change, _change_frames),
    Relay("/sockjs/logs/{chute}", "chutes", _chute_logs, _chute_log_frames),
    Relay("/ws/chute_logs/{chute}", "chutes", _chute_logs, _chute_log_frames),
    Relay("/sockjs/status", "node", _status, _status_frames, _refresh),
    Relay("/ws/paradrop_logs", "node", _node_logs, _node_log_frames),
    Relay("/ws/airshark/spectrum", "airshark", _spectrum, _spectrum_frames),
    Relay("/ws/airshark/analyzer", "airshark", _analyzer, _analyzer_frames),
    Relay("/ws/airshark/blocks", "airshark", watching("SubscribeSpectrum"), _json_frames),
    Relay("/ws/airshark/sweep", "airshark", watching("SubscribeSweep"), _json_frames),
    Relay("/ws/airshark/waterfall", "airshark", watching("SubscribeWaterfall"), _json_frames),
    Relay(
        "/api/v1/chutes/{chute}/networks/{network}/hostapd_control/ws",
        "network",
        _control_hostapd,
        _control_frames,
        _send_datagram,
    ),
)
"""In the order of the contract, then ours. Below each path any sub-path is the same, as in the original."""
