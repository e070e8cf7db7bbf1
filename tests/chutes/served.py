"""The chute service on a socket, with an engine in memory and callers of every kind."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass

import grpc

from services.chutes.adapters.imports import Imports
from services.chutes.adapters.uploads import Uploads
from services.chutes.app import SERVICE_NAMES, servicers
from services.common.identity import TokenVerifier
from services.common.server import serving
from tests.chutes.bench import Bench, RunningBench
from tests.chutes.client import Client
from tests.support.publisher import Publisher

MAX_UPLOAD_BYTES = 1024 * 1024


@dataclass
class Served:
    """A running service, and clients of it."""

    node: RunningBench
    uploads: Uploads
    imports: Imports
    channel: grpc.aio.Channel
    publisher: Publisher

    @property
    def bench(self) -> Bench:
        return self.node.bench

    def client(self, name: str | None = "admin") -> Client:
        """Returns a client with the token of a user or chute of that name; None has no token."""
        if name is None:
            return Client(self.channel, None)
        role = self.publisher.principals["users"].get(name, {"role": "user"})["role"]
        return Client(self.channel, self.publisher.token(name, role=role))


@asynccontextmanager
async def serving_bench(bench: Bench, publisher: Publisher, address: str) -> AsyncIterator[Served]:
    """Serves at an address."""
    async with bench.running() as node:
        uploads = Uploads(node.folders, MAX_UPLOAD_BYTES)
        with closing(Imports(node.folders, MAX_UPLOAD_BYTES)) as imports:
            register = servicers(node.world, node.domain, uploads, imports)
            async with (
                serving(address, SERVICE_NAMES, register, TokenVerifier(publisher.public_dir)),
                grpc.aio.insecure_channel(address) as channel,
            ):
                yield Served(node, uploads, imports, channel, publisher)
