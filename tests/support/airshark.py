"""A running spectrum service and a client of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from paradrop.airshark.v1 import airshark_pb2 as pb
from paradrop.airshark.v1.airshark_pb2_grpc import AirsharkServiceStub

from services.airshark.app import running
from services.common.settings import Settings
from tests.support.publisher import Publisher
from tests.support.settings import settings_in

DEADLINE_S = 20


@dataclass
class Shark:
    """The service and what a caller of it needs."""

    settings: Settings
    channel: grpc.aio.Channel
    publisher: Publisher

    @property
    def recordings(self) -> Path:
        """Where recordings lie."""
        return self.settings.home / "airshark" / "recordings"

    def metadata(self, user: str = "admin") -> Any:
        """Returns what authorises a caller."""
        return (("authorization", f"Bearer {self.publisher.token(user)}"),)

    async def call(self, rpc: str, user: str = "admin", **fields: Any) -> Any:
        """Calls a unary RPC."""
        stub = AirsharkServiceStub(self.channel)
        request = getattr(pb, f"{rpc}Request")(**fields)
        return await getattr(stub, rpc)(request, metadata=self.metadata(user), timeout=DEADLINE_S)

    def stream(self, rpc: str, user: str = "admin", **fields: Any) -> Any:
        """Opens a stream."""
        stub = AirsharkServiceStub(self.channel)
        return getattr(stub, rpc)(getattr(pb, f"{rpc}Request")(**fields), metadata=self.metadata(user))

    async def play(self, name: str, data: bytes, *, loop: bool = True, fast: bool = False) -> None:
        """Makes a file the source."""
        await asyncio.to_thread(self.recordings.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread((self.recordings / f"{name}.pdspec").write_bytes, data)
        settings = pb.SourceSettings(kind=pb.SOURCE_KIND_RECORDING, recording=name, loop=loop, fast=fast)
        await self.call("SetSource", settings=settings)


@dataclass(frozen=True)
class Home:
    """What a service starts with; made before the event loop runs."""

    settings: Settings
    publisher: Publisher


@contextmanager
def shark_home(folder: Path) -> Iterator[Home]:
    """Yields a home in a folder."""
    with settings_in(folder) as settings:
        settings.prepare()
        yield Home(settings, Publisher(settings.public_dir))


@asynccontextmanager
async def running_shark(home: Home) -> AsyncIterator[Shark]:
    """Runs the service."""
    address = home.settings.addresses["airshark"]
    async with running(home.settings), grpc.aio.insecure_channel(address) as channel:
        yield Shark(home.settings, channel, home.publisher)


async def until(stream: Any, wanted: Callable[[Any], bool]) -> list[Any]:
    """Returns the messages of a stream up to the first wanted one."""
    messages = []
    async with asyncio.timeout(DEADLINE_S):
        async for message in stream:
            messages.append(message)
            if wanted(message):
                return messages
    raise AssertionError(f"the stream ended without it: {messages}")
