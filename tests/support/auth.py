"""Auth in two sizes: its domain over the real adapters with a clock to turn, and the whole service."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from paradrop.auth.v1 import auth_pb2 as pb
from paradrop.auth.v1.auth_pb2_grpc import AuthServiceStub
from paradrop.vendor.envoy.service.auth.v3 import external_auth_pb2 as envoy_pb
from paradrop.vendor.envoy.service.auth.v3.external_auth_pb2_grpc import AuthorizationStub

from services.auth.adapters.hasher import Argon2Hasher
from services.auth.adapters.keys import SigningKey
from services.auth.adapters.publication import Publication
from services.auth.adapters.store import SqliteStore
from services.auth.app import running
from services.auth.domain.audit import Audit
from services.auth.domain.authenticator import Authenticator
from services.auth.domain.chute_tokens import ChuteTokens
from services.auth.domain.directory import Directory
from services.auth.domain.gatekeeper import Gatekeeper
from services.auth.domain.model import Login, Outcome
from services.auth.domain.throttle import LoginThrottle
from services.auth.domain.tokens import TokenMint
from services.auth.domain.users import Users
from services.common.identity import TokenVerifier
from services.common.settings import Settings
from tests.support.settings import PASSWORD


class Clock:
    """Stands still until a test moves it."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


class CountingHasher(Argon2Hasher):
    """Argon2 at the least cost, and how often it was asked to verify; a test can hold back its answers."""

    def __init__(self) -> None:
        super().__init__(memory_cost_kib=8)
        self.verified = 0
        self.answers = asyncio.Event()
        self.answers.set()

    async def matches(self, password_hash: str, password: str) -> bool:
        self.verified += 1
        answer = await super().matches(password_hash, password)
        await self.answers.wait()
        return answer


@dataclass
class Domain:
    """The domain of auth, put together as `app` does."""

    store: SqliteStore
    hasher: CountingHasher
    clock: Clock
    wall_clock: Clock
    directory: Directory
    users: Users
    throttle: LoginThrottle
    audit: Audit
    authenticator: Authenticator
    chute_tokens: ChuteTokens
    mint: TokenMint
    verifier: TokenVerifier
    gatekeeper: Gatekeeper

    async def logins(self) -> list[Login]:
        return [login for _, login in await self.audit.page(None, 500)]

    async def outcomes(self) -> list[Outcome]:
        return [login.outcome for login in await self.logins()]


@asynccontextmanager
async def domain_in(folder: Path) -> AsyncIterator[Domain]:
    hasher = CountingHasher()
    clock, wall_clock = Clock(1000.0), Clock(time.time())
    key = await asyncio.to_thread(SigningKey.open, folder / "key.pem")
    async with SqliteStore.opened(folder / "auth.sqlite3") as store:
        publication = Publication(folder)
        directory = Directory(store, publication)
        users = Users(directory, store, hasher, wall_clock)
        await users.set_up(PASSWORD)
        await publication.publish_keys(key.jwks())
        await directory.load()
        mint = TokenMint(key, wall_clock)
        audit = Audit(store, wall_clock, clock)
        throttle = LoginThrottle(clock)
        authenticator = Authenticator(directory, hasher, throttle, audit, clock)
        verifier = TokenVerifier(folder)
        gatekeeper = Gatekeeper(directory, authenticator, mint, verifier, audit)
        yield Domain(
            store,
            hasher,
            clock,
            wall_clock,
            directory,
            users,
            throttle,
            audit,
            authenticator,
            ChuteTokens(directory),
            mint,
            verifier,
            gatekeeper,
        )
        await authenticator.settle()
        await directory.settle()


@dataclass
class Service:
    """The running service and stubs for it."""

    settings: Settings
    channel: grpc.aio.Channel

    @property
    def auth(self) -> Any:
        return AuthServiceStub(self.channel)

    @property
    def envoy(self) -> Any:
        return AuthorizationStub(self.channel)

    async def login(
        self, username: str = "paradrop", password: str = PASSWORD, address: str | None = None
    ) -> list[tuple[str, str]]:
        """Returns the metadata of a logged-in caller."""
        request = pb.LoginLocalRequest(username=username, password=password)
        metadata = [("x-forwarded-for", address)] if address else []
        reply = await self.auth.LoginLocal(request, metadata=metadata)
        return [("authorization", f"Bearer {reply.token}")]

    async def check(
        self, authorization: str | None, address: str = "192.0.2.1", **more: Any
    ) -> envoy_pb.CheckResponse:
        """Asks as Envoy does."""
        request = envoy_pb.CheckRequest()
        attributes = request.attributes
        attributes.source.address.socket_address.address = address
        http = attributes.request.http
        if authorization is not None:
            http.headers["authorization"] = authorization
        http.headers.update(more.get("headers", {}))
        attributes.context_extensions.update(more.get("extensions", {}))
        reply: envoy_pb.CheckResponse = await self.envoy.Check(request)
        return reply


@asynccontextmanager
async def service_with(settings: Settings) -> AsyncIterator[Service]:
    address = settings.addresses["auth"]
    async with running(settings, CountingHasher), grpc.aio.insecure_channel(address) as channel:
        yield Service(settings, channel)


async def refusal(call: Any) -> tuple[str, str]:
    """Returns code and reason of a call that is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value.code().name, reason_of(rpc_status.from_call(raised.value))


def reason_of(status: Any) -> str:
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info.reason
