"""Builds the chute service and runs it."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import grpc
from paradrop.chutes.v1 import (
    archives_pb2,
    archives_pb2_grpc,
    changes_pb2,
    changes_pb2_grpc,
    chutes_pb2,
    chutes_pb2_grpc,
    processes_pb2,
    processes_pb2_grpc,
    uploads_pb2,
    uploads_pb2_grpc,
)

from services.chutes.adapters.docker_engine import DockerEngine
from services.chutes.adapters.downloads import Downloads
from services.chutes.adapters.envoy_files import EnvoyFiles
from services.chutes.adapters.folders import DiskFolders
from services.chutes.adapters.imports import Imports
from services.chutes.adapters.networks import ChuteNetworks, NetworkHostConfiguration
from services.chutes.adapters.nft_priority import NftPriority
from services.chutes.adapters.packer import DiskPacker
from services.chutes.adapters.power import NoPower, SystemPower
from services.chutes.adapters.store import MIGRATIONS, Store
from services.chutes.adapters.tokens import AuthTokens
from services.chutes.adapters.uploads import Uploads
from services.chutes.domain.assembly import Domain, running_domain
from services.chutes.domain.containers import NodeAddress
from services.chutes.domain.factoryreset import FactoryReset
from services.chutes.domain.hostconfig import HostConfiguration, SetHostConfig
from services.chutes.domain.nodechange import NodeChange
from services.chutes.domain.policy import NodePolicy
from services.chutes.domain.power import Power, Reboot, Shutdown
from services.chutes.domain.world import World
from services.chutes.rpc.archives import ChuteArchiveServicer
from services.chutes.rpc.changes import ChangeServicer
from services.chutes.rpc.chute_list import ChuteList
from services.chutes.rpc.chutes import ChuteServicer
from services.chutes.rpc.processes import ChuteProcessServicer
from services.chutes.rpc.uploads import ChuteUploadServicer
from services.common.channels import open_channel
from services.common.database import Database
from services.common.files import damaged, write_atomically
from services.common.identity import TokenVerifier
from services.common.server import Register, serving
from services.common.settings import Settings
from services.common.tls import Certificate, certificate_of

SERVICE_NAMES = [
    chutes_pb2.DESCRIPTOR.services_by_name["ChuteService"].full_name,
    uploads_pb2.DESCRIPTOR.services_by_name["ChuteUploadService"].full_name,
    archives_pb2.DESCRIPTOR.services_by_name["ChuteArchiveService"].full_name,
    changes_pb2.DESCRIPTOR.services_by_name["ChangeService"].full_name,
    processes_pb2.DESCRIPTOR.services_by_name["ChuteProcessService"].full_name,
]


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Certificate | None]:
    """Serves for the time of the context; an engine that is down is waited for in the background."""
    await asyncio.to_thread(settings.prepare)
    home = await asyncio.to_thread(settings.state_dir, "chutes")
    node_id = await asyncio.to_thread(_node_id, home / "node-id")
    folders = await asyncio.to_thread(DiskFolders, home)
    certificate = await asyncio.to_thread(certificate_of, settings)
    with (
        closing(await asyncio.to_thread(Database, home / "chutes.sqlite3", MIGRATIONS)) as database,
        closing(Imports(folders, settings.max_upload_bytes)) as imports,
    ):
        async with (
            open_channel(settings, "auth", certificate) as auth,
            open_channel(settings, "network", certificate) as network,
            DockerEngine.connect(node_id, settings.docker_host) as engine,
        ):
            host = NetworkHostConfiguration(network, settings.service_token_file)
            world = World(
                engine=engine,
                tokens=AuthTokens(auth, settings.service_token_file),
                folders=folders,
                journal=Store(database),
                node=NodeAddress(settings.listen_port, settings.tls_cert is not None),
                web=EnvoyFiles(settings.web_dir),
                priority=NftPriority(),
                fetcher=Downloads(
                    folders, settings.max_upload_bytes, settings.download_hosts, settings.download_ca
                ),
                packer=DiskPacker(folders),
                policy=NodePolicy(
                    settings.allow_privileged, settings.allow_host_network, settings.base_images
                ),
                networks=ChuteNetworks(network, settings.service_token_file),
                node_changes=[
                    *node_changes(SystemPower() if settings.power else NoPower(), host),
                    SetHostConfig(host),
                ],
                concurrent_builds=settings.concurrent_builds,
                grace_s=settings.grace_s,
            )
            uploads = Uploads(folders, settings.max_upload_bytes)
            async with (
                running_domain(world) as domain,
                serving(
                    settings.addresses["chutes"],
                    SERVICE_NAMES,
                    servicers(world, domain, uploads, imports),
                    TokenVerifier(settings.public_dir),
                    certificate=certificate,
                ),
            ):
                yield certificate


def node_changes(power: Power, host: HostConfiguration | None = None) -> tuple[NodeChange, ...]:
    """Returns the kinds of changes of the node itself."""
    return Reboot(power), Shutdown(power), FactoryReset(host)


def servicers(world: World, domain: Domain, uploads: Uploads, imports: Imports) -> Register:
    """Returns what adds the RPCs of the service to a server."""
    chute_list = ChuteList(domain.registry, world.engine, domain.supervisor, domain.list_news)
    chutes = ChuteServicer(domain.manager, chute_list, domain.logs, domain.usage, world.folders)
    changes = ChangeServicer(domain.queue, domain.manager, domain.node, domain.watcher)

    def register(server: grpc.aio.Server) -> None:
        chutes_pb2_grpc.add_ChuteServiceServicer_to_server(chutes, server)
        changes_pb2_grpc.add_ChangeServiceServicer_to_server(changes, server)
        processes_pb2_grpc.add_ChuteProcessServiceServicer_to_server(
            ChuteProcessServicer(world.engine), server
        )
        uploads_pb2_grpc.add_ChuteUploadServiceServicer_to_server(
            ChuteUploadServicer(uploads, domain.manager), server
        )
        archives_pb2_grpc.add_ChuteArchiveServiceServicer_to_server(
            ChuteArchiveServicer(domain.exporter, imports, domain.manager), server
        )

    return register


def _node_id(path: Path) -> str:
    """Returns the random name by which this node knows its own things, or raises `StateError`."""
    if not path.exists():
        write_atomically(path, secrets.token_hex(8).encode())
    text = path.read_bytes().decode(errors="replace").strip()
    if not re.fullmatch(r"[\w-]{1,64}", text, re.ASCII):
        raise damaged(path, "it holds no name of a node")
    return text
