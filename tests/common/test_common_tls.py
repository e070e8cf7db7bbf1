"""Servers and clients of a node that meet on a network."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.auth.adapters.authority import Authority
from services.common.channels import open_channel
from services.common.identity import TokenVerifier
from services.common.server import serving
from services.common.settings import Settings, load_settings
from services.common.tls import Certificate, CertificateError, blocking_channel, certificate_of
from tests.support.node import free_port
from tests.support.publisher import Publisher

REQUEST = health_pb2.HealthCheckRequest()


def issued(root: Path, *names: str) -> Path:
    """Makes an authority and certificates of parts; returns the folder that has one for each."""
    (root / "authority").mkdir(parents=True)
    folders = [root / "tls" / name for name in names]
    for folder in folders:
        folder.mkdir(parents=True)
    Authority(root / "authority", time.time).issue(folders)
    return root / "tls"


def part(folder: Path | None, port: int) -> Settings:
    """Returns the settings of a part that knows auth at a port."""
    environment = {"PARADROP_HOME": "/nowhere", "PARADROP_AUTH_ADDRESS": f"127.0.0.1:{port}"}
    return load_settings(environment | ({"PARADROP_INTERNAL_TLS": str(folder)} if folder else {}))


@pytest.fixture
def tls(tmp_path: Path) -> Path:
    return issued(tmp_path / "node", "auth", "airshark", "chutes")


@pytest.fixture
def stranger(tmp_path: Path, tls: Path) -> Path:
    """A part of another node that knows the authority of this one, and lacks only a certificate of it."""
    folder = issued(tmp_path / "other", "chutes") / "chutes"
    (folder / "ca.pem").write_bytes((tls / "auth" / "ca.pem").read_bytes())
    return folder


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def verifier(publisher: Publisher) -> TokenVerifier:
    return TokenVerifier(publisher.public_dir)


async def shown(settings: Settings) -> Certificate | None:
    return await asyncio.to_thread(certificate_of, settings)


async def answer(settings: Settings) -> health_pb2.HealthCheckResponse:
    async with open_channel(settings, "auth", await shown(settings)) as channel:
        return await health_pb2_grpc.HealthStub(channel).Check(REQUEST, timeout=10)


@contextmanager
def refused() -> Iterator[None]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        yield
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_parts_of_one_node_understand_each_other(tls: Path, port: int, verifier: TokenVerifier) -> None:
    auth, chutes = part(tls / "auth", port), part(tls / "chutes", port)
    async with serving(auth.addresses["auth"], [], _nothing, verifier, certificate=await shown(auth)):
        assert (await answer(chutes)).status == health_pb2.HealthCheckResponse.SERVING


async def test_a_caller_without_a_certificate_is_refused(
    tls: Path, port: int, verifier: TokenVerifier
) -> None:
    auth = part(tls / "auth", port)
    certificate = await shown(auth)
    assert certificate is not None
    async with serving(auth.addresses["auth"], [], _nothing, verifier, certificate=certificate):
        with refused():
            await answer(part(None, port))
        # It knows whom to believe, but has nothing to show.
        credentials = grpc.ssl_channel_credentials(certificate.authority)
        options = [("grpc.ssl_target_name_override", "auth")]
        async with grpc.aio.secure_channel(auth.addresses["auth"], credentials, options) as channel:
            with refused():
                await health_pb2_grpc.HealthStub(channel).Check(REQUEST, timeout=10)


async def test_a_caller_of_another_node_is_refused(
    tls: Path, stranger: Path, port: int, verifier: TokenVerifier
) -> None:
    auth = part(tls / "auth", port)
    async with serving(auth.addresses["auth"], [], _nothing, verifier, certificate=await shown(auth)):
        with refused():
            await answer(part(stranger, port))


async def test_another_part_cannot_pass_for_auth(tls: Path, port: int, verifier: TokenVerifier) -> None:
    pretender = part(tls / "airshark", port)
    async with serving(
        pretender.addresses["auth"], [], _nothing, verifier, certificate=await shown(pretender)
    ):
        with refused():
            await answer(part(tls / "chutes", port))


async def test_unix_sockets_need_none(tls: Path, tmp_path: Path, publisher: Publisher) -> None:
    environment = {"PARADROP_HOME": str(tmp_path / "home"), "PARADROP_INTERNAL_TLS": str(tls / "auth")}
    settings = load_settings(environment)
    await asyncio.to_thread(settings.prepare)
    verifier = TokenVerifier(publisher.public_dir)
    address = settings.addresses["auth"]
    async with serving(address, [], _nothing, verifier, certificate=await shown(settings)):
        assert (await answer(settings)).status == health_pb2.HealthCheckResponse.SERVING


def test_a_part_that_has_no_certificate_yet_says_who_issues_it(tmp_path: Path, port: int) -> None:
    with pytest.raises(CertificateError, match="auth issues it"):
        certificate_of(part(tmp_path / "tls" / "node", port))
    with pytest.raises(CertificateError, match="auth issues it"):
        blocking_channel(part(tmp_path / "tls" / "node", port), "auth")


def test_keys_are_not_shown(tls: Path, port: int) -> None:
    certificate = certificate_of(part(tls / "auth", port))
    assert "PRIVATE" not in repr(certificate)


def _nothing(_: grpc.aio.Server) -> None:
    pass
