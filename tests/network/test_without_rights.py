"""A service that may not change the kernel's networks says so, and does everything else."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from paradrop.network.v1 import chute_networks_pb2, hostconfig_pb2, network_pb2

from tests.network.conftest import needs_root
from tests.network.documents import example
from tests.network.served import Served, wanted
from tests.support.publisher import Publisher
from tests.support.settings import settings_in

pytestmark = needs_root

MISSING = ("FAILED_PRECONDITION", "NETWORK_PERMISSION_MISSING")
SCRIPT = 'ip link add eth1 type veth peer name far && exec setpriv --bounding-set=-net_admin,-sys_admin "$@"'
"""Runs a program without CAP_NET_ADMIN and CAP_SYS_ADMIN."""


@asynccontextmanager
async def unprivileged(home: Path, log: Path) -> AsyncIterator[Served]:
    """Runs the service in a network of its own, with a wired socket eth1 and without the right to use it."""
    program = Path(sys.executable).with_name("paradrop")
    with settings_in(home, PARADROP_HOST_NETWORK="managed") as settings, log.open("wb") as output:
        settings.prepare()
        publisher = await asyncio.to_thread(Publisher, settings.public_dir)
        environment = {
            **os.environ,
            "PARADROP_HOME": str(home),
            "PARADROP_RUNTIME": str(settings.runtime),
            "PARADROP_HOST_NETWORK": "managed",
        }
        words = ["unshare", "--net", "sh", "-c", SCRIPT, "sh", str(program), "serve", "network"]
        service = await asyncio.to_thread(
            subprocess.Popen, words, stdout=output, stderr=output, env=environment
        )
        try:
            async with grpc.aio.insecure_channel(settings.addresses["network"]) as channel:
                async with asyncio.timeout(30):
                    await channel.channel_ready()
                yield Served(channel, publisher)
        finally:
            service.kill()
            await asyncio.to_thread(service.wait)


@pytest.mark.thorough
async def test_what_needs_rights_is_refused_with_the_right_that_is_missing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with unprivileged(tmp_path / "home", log) as served:
        wired = wanted("wired0", type="lan", requests={"device": "eth1"})
        request = chute_networks_pb2.ApplyChuteNetworksRequest(
            chute=chute_networks_pb2.ChuteOwner(chute="web", owner="user", owner_domain="localhost"),
            networks=[wired],
        )
        assert await served.services.refused("ApplyChuteNetworks", request) == MISSING
        applied = hostconfig_pb2.ApplyHostConfigRequest(change_id=1)
        applied.config.update(example(wifi=[], wifi___interfaces=[], lan__interfaces=["eth1"]))
        assert await served.services.refused("ApplyHostConfig", applied) == MISSING

        client = served.client()
        sections = (await client("ListPdconf", network_pb2.ListPdconfRequest(explain=True))).sections
        reasons = {(s.type, s.name): s.reason for s in sections if not s.success}
        assert len(reasons) == len(sections), "nothing is said to be applied"
        # The DHCP server fails for want of the bridge.
        assert {reason for (kind, _), reason in reasons.items() if kind != "dnsmasq"} == {MISSING[1]}
        status = await client("GetHostConfigStatus", hostconfig_pb2.GetHostConfigStatusRequest())
        assert (status.status.version, status.status.reason) == (1, MISSING[1])
        assert (await client("GetHostConfig", network_pb2.GetHostConfigRequest())).config.fields["lan"]
    assert "Traceback" not in log.read_text()
