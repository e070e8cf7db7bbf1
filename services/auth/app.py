"""Builds the auth service and serves it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
from paradrop.auth.v1 import auth_pb2_grpc
from paradrop.vendor.envoy.service.auth.v3 import external_auth_pb2_grpc

from services.auth.adapters.authority import Authority, keeping_certificates
from services.auth.adapters.bootstrap import bootstrap_password
from services.auth.adapters.cloud import HttpCloud
from services.auth.adapters.hasher import Argon2Hasher
from services.auth.adapters.keys import SigningKey
from services.auth.adapters.publication import Publication
from services.auth.adapters.service_token import keeping_service_token
from services.auth.adapters.store import SqliteStore
from services.auth.domain.audit import Audit
from services.auth.domain.authenticator import Authenticator
from services.auth.domain.chute_tokens import ChuteTokens
from services.auth.domain.cloud import CloudLogin
from services.auth.domain.directory import Directory
from services.auth.domain.gatekeeper import Gatekeeper
from services.auth.domain.throttle import LoginThrottle
from services.auth.domain.tokens import TokenMint
from services.auth.domain.users import Users
from services.auth.rpc import authorization, servicer
from services.common.identity import TokenVerifier
from services.common.server import serving
from services.common.settings import Settings
from services.common.tls import Certificate, certificate_of


@asynccontextmanager
async def running(
    settings: Settings, make_hasher: Callable[[], Argon2Hasher] = Argon2Hasher
) -> AsyncIterator[Certificate | None]:
    """Serves for the time of the context, and publishes keys and principals before it begins."""
    await asyncio.to_thread(settings.prepare)
    folder = await asyncio.to_thread(settings.state_dir, "auth")
    key = await asyncio.to_thread(SigningKey.open, folder / "signing-key.pem")
    hasher = await asyncio.to_thread(make_hasher)
    async with SqliteStore.opened(folder / "auth.sqlite3") as store:
        publication = Publication(settings.public_dir)
        directory = Directory(store, publication)
        users = Users(directory, store, hasher, time.time)
        if await store.bootstrap_hash() is None:
            await users.set_up(
                await asyncio.to_thread(
                    bootstrap_password, settings.admin_password, settings.admin_password_file
                )
            )
        await publication.publish_keys(key.jwks())
        await directory.load()

        mint = TokenMint(key, time.time)
        audit = Audit(store, time.time, time.monotonic)
        authenticator = Authenticator(directory, hasher, LoginThrottle(time.monotonic), audit, time.monotonic)
        verifier = TokenVerifier(settings.public_dir)
        cloud = CloudLogin(HttpCloud(settings.public_dir), mint)
        auth = servicer.AuthServicer(users, authenticator, mint, ChuteTokens(directory), audit, cloud)
        envoy = authorization.AuthorizationServicer(
            Gatekeeper(directory, authenticator, mint, verifier, audit)
        )

        def register(server: grpc.aio.Server) -> None:
            auth_pb2_grpc.add_AuthServiceServicer_to_server(auth, server)
            external_auth_pb2_grpc.add_AuthorizationServicer_to_server(envoy, server)

        def sign_service_token() -> str:
            return mint.service_token(directory.service_generation)

        names = [servicer.SERVICE.full_name, authorization.SERVICE.full_name]
        try:
            async with (
                keeping_service_token(settings.service_token_file, sign_service_token, time.time),
                keeping_certificates(Authority(folder, time.time), settings.internal_tls),
            ):
                certificate = await asyncio.to_thread(certificate_of, settings)
                async with serving(
                    settings.addresses["auth"], names, register, verifier, certificate=certificate
                ):
                    yield certificate
        finally:
            await authenticator.settle()
            await directory.settle()
