"""Puts the parts of the service that keep networks and the host configuration together."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass

import grpc
import structlog
from paradrop.network.v1 import chute_networks_pb2_grpc, hostconfig_pb2_grpc

from services.common.database import Database
from services.common.errors import DomainError
from services.common.settings import Settings
from services.network.adapters.hostfile import YamlHostFile
from services.network.adapters.links import KernelLinks
from services.network.adapters.nft import NftFirewall
from services.network.adapters.standin import LinksWithoutContainers
from services.network.adapters.store import MIGRATIONS, Store
from services.network.domain.hostconfig import CHECK_TIMEOUT_S, HostConfigs, Parts
from services.network.domain.hostgenerate import generate
from services.network.domain.lookup import NetworkLookup
from services.network.domain.manager import NetworkManager
from services.network.domain.ports import Firewall, Links
from services.network.domain.reachability import Reachability
from services.network.domain.world import World
from services.network.rpc import chute_networks, hostconfig
from services.network.rpc.networks import NetworkParts
from services.network.wireless import WirelessParts

log = structlog.get_logger()

RADIO_SETTLES_S = 1.0
"""A radio that was plugged in gets its interface a moment later; several may come at once."""
SERVICE_NAMES = [hostconfig.SERVICE.full_name, chute_networks.SERVICE.full_name]


@dataclass(frozen=True, slots=True)
class Host:
    """The kernel whose networks these are."""

    links: Links
    firewall: Firewall


def register(parts: NetworkParts, server: grpc.aio.Server, managed: bool) -> None:
    """Adds the services that are about nothing else."""
    hostconfig_pb2_grpc.add_HostConfigServiceServicer_to_server(
        hostconfig.HostConfigServicer(parts.configs, managed), server
    )
    chute_networks_pb2_grpc.add_ChuteNetworkServiceServicer_to_server(
        chute_networks.ChuteNetworkServicer(parts.manager), server
    )


@asynccontextmanager
async def opened(
    settings: Settings,
    daemons: WirelessParts,
    host: Host | None = None,
    check_timeout_s: float = CHECK_TIMEOUT_S,
) -> AsyncIterator[NetworkParts]:
    """Brings the networks up and keeps them for the time of the context.

    At its end they stay as they are, so that a service that is started anew disturbs nobody.
    """
    home = await asyncio.to_thread(settings.state_dir, "network")
    lease_dir = home / "leases"
    await asyncio.to_thread(lease_dir.mkdir, 0o755, True, True)
    links = LinksWithoutContainers() if settings.standin_radio else KernelLinks()
    host = host or Host(links, NftFirewall())
    world = World(
        access_points=daemons.access_points,
        dhcp=daemons.servers,
        lease_files=daemons.lease_files,
        firewall=host.firewall,
        links=host.links,
        radios=daemons.radios,
        lease_dir=lease_dir,
        managed=settings.host_network == "managed",
        monitor_allowed=settings.allow_monitor_mode,
    )

    async def generated() -> dict[str, object]:
        facts = await world.facts({})
        return generate(facts.links, facts.uplink, facts.radios)

    with closing(await asyncio.to_thread(Database, home / "network.sqlite3", MIGRATIONS)) as database:
        store = Store(database)
        manager = NetworkManager(world, store)
        configs = HostConfigs(
            Parts(
                store=store,
                file=YamlHostFile(home / "hostconfig.yaml"),
                generate=generated,
                use=manager.use,
                restore=manager.restore,
                reachability=Reachability(host.links),
                clock=time.time,
                check_timeout_s=check_timeout_s,
            )
        )
        await manager.start(await configs.load())
        lookup = NetworkLookup(manager, daemons.lease_files, lease_dir)
        healing = asyncio.create_task(_heal(daemons.radio_came, manager))
        try:
            yield NetworkParts(manager, configs, lookup, generated)
        finally:
            healing.cancel()
            await asyncio.gather(healing, return_exceptions=True)
            await configs.close()


async def _heal(radio_came: asyncio.Event, manager: NetworkManager) -> None:
    """Brings up again what was lost with a radio, once that is back."""
    while True:
        await radio_came.wait()
        await asyncio.sleep(RADIO_SETTLES_S)
        radio_came.clear()
        try:
            await manager.reload()
        except DomainError as error:
            log.warning("not all networks are back", reason=error.reason)
