"""What every server of ours offers beside its own services."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.common.identity import TokenVerifier
from services.common.server import serving
from tests.support.publisher import Publisher

SERVICE = "paradrop.auth.v1.AuthService"
SERVING = health_pb2.HealthCheckResponse.SERVING


def nothing(_: grpc.aio.Server) -> None:
    pass


@pytest.fixture
def verifier(publisher: Publisher) -> TokenVerifier:
    return TokenVerifier(publisher.public_dir)


@pytest.mark.parametrize("name", ["", SERVICE])
async def test_it_is_healthy_from_the_first_moment_for_everybody(
    tmp_path: Path, verifier: TokenVerifier, name: str
) -> None:
    address = f"unix:{tmp_path}/s"
    async with serving(address, [SERVICE], nothing, verifier), grpc.aio.insecure_channel(address) as channel:
        reply = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name))
    assert reply.status == SERVING


async def test_it_describes_itself_to_those_who_are_logged_in(
    tmp_path: Path, verifier: TokenVerifier, publisher: Publisher
) -> None:
    address = f"unix:{tmp_path}/s"
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async with serving(address, [SERVICE], nothing, verifier), grpc.aio.insecure_channel(address) as channel:
        describe = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            [reply async for reply in describe(iter([request]))]
        metadata = [("authorization", f"Bearer {publisher.token('guest')}")]
        (reply,) = [reply async for reply in describe(iter([request]), metadata=metadata)]
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert SERVICE in {service.name for service in reply.list_services_response.service}


async def test_nobody_else_on_the_machine_can_connect(tmp_path: Path, verifier: TokenVerifier) -> None:
    async with serving(f"unix:{tmp_path}/s", [], nothing, verifier):
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600


async def test_an_address_in_use_is_said_to_be(verifier: TokenVerifier) -> None:
    taken = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    port = taken.add_insecure_port("127.0.0.1:0")
    await taken.start()
    try:
        with pytest.raises(OSError, match="is another node running"):
            async with serving(f"127.0.0.1:{port}", [], nothing, verifier):
                pytest.fail("it listens twice")
    finally:
        await taken.stop(0)


def test_grpc_knows_what_it_is_set_to() -> None:
    code = "import os, services, grpc; grpc.insecure_channel('unix:x'); print(os.environ['GRPC_EXPERIMENTS'])"
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_EXPERIMENTS"}
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "-event_engine_listener,-event_engine_client\n"
    assert "xperiment" not in ran.stderr
