"""The link to a controller: one stream that the node dials and keeps."""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import grpc
import structlog
from paradrop.controller.v1 import controller_pb2 as pb
from paradrop.controller.v1 import controller_pb2_grpc

from services.common.errors import DomainError, Unavailable
from services.common.process import VERSION
from services.node.adapters.live import Sources
from services.node.adapters.outbox import Outbox
from services.node.adapters.session import NoWelcomeError, Session
from services.node.adapters.tls import Credentials, tls_trouble
from services.node.domain.provision import Provision
from services.node.domain.trouble import CREDENTIALS_REFUSED, LOST, UNREACHABLE, Trouble

log = structlog.get_logger()

INITIAL_BACKOFF_S = 1.0
MAX_BACKOFF_S = 60.0
REFUSED_BACKOFF_S = 60.0
CONNECT_TIMEOUT_S = 15.0
STABLE_S = 30.0
DEFAULT_PORTS = {"grpc": 80, "grpcs": 443}
REFUSALS = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)

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
class Surroundings:
    """What the link tells about and passes calls on to."""

    sources: Sources
    outbox: Outbox
    credentials: Credentials


class Link:
    """Keeps the stream to one controller. The node never waits for it."""

    def __init__(self, provision: Provision, around: Surroundings) -> None:
        self._provision = provision
        self._around = around
        self._hurry = asyncio.Event()
        self.up = asyncio.Event()
        """Set while the controller has welcomed the node."""
        self.trouble: Trouble | None = None
        """Why the last try failed; None while there is a connection, or before the first one ended."""

    async def run(self) -> None:
        """Keeps the stream for good."""
        pause_s = INITIAL_BACKOFF_S
        while True:
            began_s = asyncio.get_running_loop().time()
            trouble = await self._try()
            if trouble is None:
                trouble = await self._try() or self._trouble(UNREACHABLE)
            if self.up.is_set() or trouble != self.trouble:
                log.warning("there is no link to the controller", reason=trouble.reason, why=trouble.message)
            self.up.clear()
            self.trouble = trouble
            if asyncio.get_running_loop().time() - began_s > STABLE_S:
                pause_s = INITIAL_BACKOFF_S
            # Else all nodes of a controller that restarts would come back in the same moment.
            longest_s = REFUSED_BACKOFF_S if trouble.reason == CREDENTIALS_REFUSED else pause_s
            self._hurry.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(random.uniform(0.5, 1.0) * longest_s):  # noqa: S311
                    await self._hurry.wait()
            pause_s = min(2 * pause_s, MAX_BACKOFF_S)

    async def poll(self, timeout_s: float) -> None:
        """Connects now if there is no link; raises Unavailable if that takes too long."""
        self._hurry.set()
        try:
            async with asyncio.timeout(timeout_s):
                await self.up.wait()
        except TimeoutError:
            trouble = self.trouble or self._trouble(UNREACHABLE)
            raise Unavailable(
                trouble.message, reason=trouble.reason, controller=self._provision.pdserver
            ) from None

    async def _try(self) -> Trouble | None:
        """Keeps one stream to its end; returns why there is none, or None if that was lost on the way."""
        try:
            async with await self._channel() as channel:
                await self._session(channel)
        except grpc.aio.AioRpcError as error:
            log.debug("the stream failed", code=error.code().name, details=error.details())
            if error.code() in REFUSALS:
                return self._trouble(CREDENTIALS_REFUSED)
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return self._trouble("CONTROLLER_INCOMPATIBLE")
            if error.code() is grpc.StatusCode.INTERNAL and not self.up.is_set():
                # gRPC's own: a controller that refuses a node while that still speaks is not understood.
                return None
            return await self._why()
        except NoWelcomeError:
            return self._trouble("CONTROLLER_INCOMPATIBLE")
        except (TimeoutError, OSError, ValueError):
            return await self._why()
        except DomainError as error:
            return Trouble(error.reason, str(error))
        except Exception:  # The link must not end for good, whatever a controller sends.
            log.exception("the link failed")
        return self._trouble(LOST)

    async def _why(self) -> Trouble:
        """Looks what is the matter with a controller that cannot be reached."""
        if self.up.is_set():
            return self._trouble(LOST)
        reason = await tls_trouble(*self._target, self._around.credentials) if self._secure else None
        return self._trouble(reason or UNREACHABLE)

    def _trouble(self, reason: str) -> Trouble:
        return Trouble.at(self._provision.pdserver, reason)

    @property
    def _secure(self) -> bool:
        return urlsplit(self._provision.pdserver).scheme == "grpcs"

    @property
    def _target(self) -> tuple[str, int]:
        address = urlsplit(self._provision.pdserver)
        return address.hostname or "", address.port or DEFAULT_PORTS[address.scheme]

    async def _channel(self) -> grpc.aio.Channel:
        host, port = self._target
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if not self._secure:
            return grpc.aio.insecure_channel(target, options=KEEP_ALIVE)
        credentials = await asyncio.to_thread(self._around.credentials.for_grpc)
        return grpc.aio.secure_channel(target, credentials, options=KEEP_ALIVE)

    async def _session(self, channel: grpc.aio.Channel) -> None:
        provision = self._provision
        metadata = (
            ("authorization", f"Bearer {provision.apitoken}"),
            ("paradrop-node", provision.router_id or ""),
        )
        queue_id, forgotten = await self._around.outbox.identity()
        hello = pb.Hello(
            node_id=provision.router_id or "",
            queue_id=queue_id,
            version=VERSION,
            forgotten_count=forgotten,
        )
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await _connected(channel)
        call = controller_pb2_grpc.ControllerServiceStub(channel).Connect(metadata=metadata)
        session = Session(call, self._around.outbox, self._around.sources)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await session.begin(hello)
            log.info("the controller has welcomed the node", controller=provision.pdserver)
            self.trouble = None
            self.up.set()
            await session.serve()
        finally:
            await session.close()
            call.cancel()


async def _connected(channel: grpc.aio.Channel) -> None:
    # A call that begins before may hang when the connection fails while it sends its first message.
    state = channel.get_state(try_to_connect=True)
    while state is not grpc.ChannelConnectivity.READY:
        if state in (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN):
            raise ConnectionError
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)
