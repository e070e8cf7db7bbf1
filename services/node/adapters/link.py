"""The link to a controller: one stream that the node dials and keeps."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from paradrop.airshark.v1 import airshark_pb2, airshark_pb2_grpc
from paradrop.chutes.v1 import changes_pb2
from paradrop.controller.v1 import controller_pb2 as pb
from paradrop.controller.v1 import controller_pb2_grpc
from paradrop.node.v1 import node_pb2

from services.common.channels import service_metadata
from services.common.errors import DomainError, Unavailable
from services.common.feed import Subscription
from services.common.process import VERSION
from services.common.ring import LEVELS
from services.node.adapters.observer import NodeObserver
from services.node.adapters.outbox import Outbox, Record
from services.node.adapters.tunnel import Tunnel
from services.node.domain.cached import Cached
from services.node.domain.ports import Lines
from services.node.domain.provision import Provision
from services.node.rpc.documents import to_log_line

log = structlog.get_logger()

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
REFUSED_PAUSE_S = 60.0
CONNECT_TIMEOUT_S = 15.0
STABLE_S = 30.0
LIVE_DEPTH = 200
LEAST_TELEMETRY_INTERVAL_S = 1.0
DEFAULT_PORTS = {"grpc": 80, "grpcs": 443}

# Often enough for the tables of home routers and mobile networks, which forget a silent connection.
KEEP_ALIVE = [
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # Our own pauses, with jitter, are the only ones.
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]


@dataclass(frozen=True, slots=True)
class Credentials:
    """PEM files for links with TLS; None for what is built in, or not used."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the link tells about and passes calls on to."""

    channels: Mapping[str, grpc.aio.Channel]
    token_file: Path
    outbox: Outbox
    observer: NodeObserver
    lines: Lines
    telemetry: Cached[node_pb2.GetTelemetryResponse]
    credentials: Credentials = Credentials()


class Link:
    """Keeps the stream to one controller. The node never waits for it."""

    def __init__(self, provision: Provision, around: Surroundings) -> None:
        self._provision = provision
        self._around = around
        self._hurry = asyncio.Event()
        self.up = asyncio.Event()
        """Set while the controller has welcomed the node."""

    async def run(self) -> None:
        """Keeps the stream for good."""
        pause_s = FIRST_PAUSE_S
        while True:
            began_s = asyncio.get_running_loop().time()
            why, refused = await self._try()
            if self.up.is_set():
                self.up.clear()
                log.warning("the link to the controller is down", why=why)
            if asyncio.get_running_loop().time() - began_s > STABLE_S:
                pause_s = FIRST_PAUSE_S
            # Else all nodes of a controller that restarts would come back in the same moment.
            wait_s = random.uniform(0.5, 1.0) * (REFUSED_PAUSE_S if refused else pause_s)  # noqa: S311
            log.debug("no link to the controller", why=why, next_try_in_s=round(wait_s, 1))
            self._hurry.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._hurry.wait()
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def poll(self, timeout_s: float) -> None:
        """Connects now if there is no link; raises Unavailable if that takes too long."""
        self._hurry.set()
        try:
            async with asyncio.timeout(timeout_s):
                await self.up.wait()
        except TimeoutError:
            raise Unavailable(
                f"The controller at {self._provision.pdserver} does not answer.",
                reason="CONTROLLER_UNREACHABLE",
                controller=self._provision.pdserver,
            ) from None

    async def _try(self) -> tuple[str, bool]:
        """Keeps one stream to its end; returns why it ended, and whether the controller refused the node."""
        try:
            async with await self._channel() as channel:
                await self._session(channel)
        except grpc.aio.AioRpcError as error:
            refused = error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
            return f"{error.code().name}: {error.details()}", refused
        except TimeoutError:
            return "no answer", False
        except (DomainError, OSError) as error:
            return str(error), False
        except Exception:  # The link must not end for good, whatever a controller sends.
            log.exception("the link failed")
            return "unexpected error", False
        return "the controller ended it", False

    async def _channel(self) -> grpc.aio.Channel:
        address = urlsplit(self._provision.pdserver)
        target = f"{address.hostname}:{address.port or DEFAULT_PORTS[address.scheme]}"
        if address.scheme == "grpc":
            return grpc.aio.insecure_channel(target, options=KEEP_ALIVE)
        return grpc.aio.secure_channel(
            target, await asyncio.to_thread(_tls, self._around.credentials), options=KEEP_ALIVE
        )

    async def _session(self, channel: grpc.aio.Channel) -> None:
        provision = self._provision
        metadata = (
            ("authorization", f"Bearer {provision.apitoken}"),
            ("paradrop-node", provision.router_id or ""),
        )
        call = controller_pb2_grpc.ControllerServiceStub(channel).Connect(metadata=metadata)
        session = _Session(call, provision, self._around)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await session.begin()
            log.info("the controller has welcomed the node", controller=provision.pdserver)
            self.up.set()
            await session.serve()
        finally:
            await session.close()
            call.cancel()


class _Session:
    """One connection."""

    def __init__(self, call: Any, provision: Provision, around: Surroundings) -> None:
        self._call = call
        self._provision = provision
        self._around = around
        self._writing = asyncio.Lock()
        self._tunnel = Tunnel(around.channels, around.token_file, around.outbox, self._send)
        self._live: Subscription[pb.Live] = Subscription(LIVE_DEPTH)
        self._sources: list[asyncio.Task[None]] = []
        self._acknowledged = 0

    async def _send(self, message: pb.ConnectRequest) -> None:
        async with self._writing:
            await self._call.write(message)

    async def begin(self) -> None:
        """Says hello and waits for the welcome."""
        queue_id, forgotten = await self._around.outbox.identity()
        hello = pb.Hello(
            node_id=self._provision.router_id or "",
            queue_id=queue_id,
            version=VERSION,
            forgotten_count=forgotten,
        )
        await self._send(pb.ConnectRequest(hello=hello))
        first = await self._call.read()
        if first is grpc.aio.EOF or not first.HasField("welcome"):
            raise Unavailable("The controller does not begin with welcome.", reason="CONTROLLER_UNREACHABLE")
        self._acknowledged = first.welcome.acknowledged_sequence
        await self._around.outbox.acknowledge(self._acknowledged)

    async def serve(self) -> None:
        """Sends and reads until the stream ends."""
        tasks = [
            asyncio.create_task(work) for work in (self._send_records(), self._send_live(), self._read())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """Ends what the connection has started."""
        await self._unsubscribe()
        await self._tunnel.close()

    async def _send_records(self) -> None:
        sent = self._acknowledged
        while True:
            self._around.outbox.added.clear()
            for record in await self._around.outbox.after(sent):
                await self._send(pb.ConnectRequest(record=_to_record(record)))
                sent = record.sequence
            if not await self._around.outbox.after(sent, 1):
                await self._around.outbox.added.wait()

    async def _send_live(self) -> None:
        async for batch in self._live.batches(3600):
            for live in batch:
                live.dropped_count = self._live.take_dropped()
                await self._send(pb.ConnectRequest(live=live))

    async def _read(self) -> None:
        while (message := await self._call.read()) is not grpc.aio.EOF:
            kind = message.WhichOneof("message")
            if kind == "acknowledgement":
                await self._around.outbox.acknowledge(message.acknowledgement.sequence)
            elif kind == "subscription":
                await self._unsubscribe()
                self._subscribe(message.subscription)
            elif kind == "call":
                self._tunnel.begin(message.call)
            elif kind == "input":
                await self._tunnel.add(message.input)
            elif kind == "cancellation":
                self._tunnel.cancel(message.cancellation.call_id)

    def _subscribe(self, wanted: pb.Subscription) -> None:
        works: list[Callable[[], AsyncIterator[pb.Live]]] = []
        if wanted.telemetry_interval_s > 0:
            interval_s = max(wanted.telemetry_interval_s, LEAST_TELEMETRY_INTERVAL_S)
            works.append(lambda: self._telemetry(interval_s))
        if wanted.progress:
            works.append(self._progress)
        if wanted.detections:
            works.append(self._detections)
        if wanted.log_level in LEVELS:
            works.append(lambda: self._log(LEVELS.index(wanted.log_level)))
        self._sources = [asyncio.create_task(self._feed(work)) for work in works]

    async def _unsubscribe(self) -> None:
        for task in self._sources:
            task.cancel()
        await asyncio.gather(*self._sources, return_exceptions=True)
        self._sources = []

    async def _feed(self, work: Callable[[], AsyncIterator[pb.Live]]) -> None:
        while True:
            with suppress(grpc.aio.AioRpcError, DomainError):
                async for live in work():
                    self._live.push(live)
            # A service that is down or cannot do this comes back, or not.
            await asyncio.sleep(5)

    async def _telemetry(self, interval_s: float) -> AsyncIterator[pb.Live]:
        while True:
            yield pb.Live(telemetry=await self._around.telemetry.get())
            await asyncio.sleep(interval_s)

    async def _progress(self) -> AsyncIterator[pb.Live]:
        async for progress in self._around.observer.progress():
            yield pb.Live(progress=progress)

    async def _detections(self) -> AsyncIterator[pb.Live]:
        stub = airshark_pb2_grpc.AirsharkServiceStub(self._around.channels["airshark"])
        stream = stub.SubscribeAnalyzer(
            airshark_pb2.SubscribeAnalyzerRequest(), metadata=service_metadata(self._around.token_file)
        )
        try:
            async for detection in stream:
                if detection.HasField("detection"):
                    yield pb.Live(detection=detection)
        finally:
            stream.cancel()

    async def _log(self, least: int) -> AsyncIterator[pb.Live]:
        async with self._around.lines.reading() as (_, reader):
            async for batch in reader.batches(3600):
                lines = [
                    to_log_line(line)
                    for line in batch
                    if line.level in LEVELS and LEVELS.index(line.level) >= least
                ]
                if lines:
                    yield pb.Live(log=node_pb2.LogLines(lines=lines))


def _to_record(record: Record) -> pb.Record:
    time = Timestamp(seconds=int(record.time_s), nanos=int(record.time_s % 1 * 1e9))
    message = pb.Record(sequence=record.sequence, time=time)
    if record.kind == "change":
        message.change_ended.CopyFrom(changes_pb2.Change.FromString(record.payload))
    else:
        message.state.CopyFrom(pb.NodeState.FromString(record.payload))
    return message


def _tls(files: Credentials) -> grpc.ChannelCredentials:
    def content(path: Path | None) -> bytes | None:
        return path.read_bytes() if path else None

    return grpc.ssl_channel_credentials(content(files.ca), content(files.key), content(files.cert))
