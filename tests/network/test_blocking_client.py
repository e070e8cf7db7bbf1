"""Controllers that block reach the service as well."""

from pathlib import Path

import grpc
from paradrop.network.v1 import network_pb2, network_pb2_grpc

from services.network.app import running
from tests.support.aio_server import run_in_thread
from tests.support.identity import Issuer
from tests.support.settings import settings_in


def test_a_blocking_client_reads_the_configuration(tmp_path: Path) -> None:
    with settings_in(tmp_path) as settings:
        settings.prepare()
        token = Issuer(settings.public_dir).token()
        with (
            run_in_thread(running(settings), settings.addresses["network"]) as address,
            grpc.insecure_channel(address) as channel,
        ):
            stub = network_pb2_grpc.NetworkServiceStub(channel)
            metadata = [("authorization", f"Bearer {token}")]
            answer = stub.GetHostConfig(network_pb2.GetHostConfigRequest(), metadata=metadata, timeout=30)
            assert "lan" in answer.config
            assert not stub.ListDevices(
                network_pb2.ListDevicesRequest(), metadata=metadata, timeout=30
            ).devices
