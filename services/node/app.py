"""Builds the node service and serves it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import structlog
from google.protobuf import json_format
from paradrop.node.v1 import audio_pb2_grpc, node_pb2, node_pb2_grpc

from services.common.channels import open_channel
from services.common.database import Database
from services.common.identity import TokenVerifier
from services.common.options import Options, load_options
from services.common.server import serving
from services.common.settings import Settings
from services.common.tls import Certificate, certificate_of
from services.node.adapters import readings, sysfs, uevents
from services.node.adapters.chutes import ChuteClient
from services.node.adapters.controllers import Connection, Controllers
from services.node.adapters.discovery import discoverable
from services.node.adapters.facts import FactFinder
from services.node.adapters.key_files import AuthorizedKeys, find_account, load_key
from services.node.adapters.lines import NodeLines
from services.node.adapters.link import Link, Surroundings
from services.node.adapters.live import Sources
from services.node.adapters.neighbours import Neighbours
from services.node.adapters.observer import NodeObserver
from services.node.adapters.outbox import MIGRATIONS, Outbox
from services.node.adapters.provision_file import JsonProvisionFile
from services.node.adapters.pulse import PulseAudio
from services.node.adapters.reports import HttpReports
from services.node.adapters.self_provision import self_provision
from services.node.adapters.tls import Credentials
from services.node.domain.cached import Cached
from services.node.domain.diagnosis.facts import Facts
from services.node.domain.gauges import gauges
from services.node.domain.inventory import Inventory
from services.node.domain.provision import LINK_SCHEMES, Provision, Provisioning
from services.node.domain.ssh_keys import SshKeys
from services.node.rpc import documents
from services.node.rpc.audio import AUDIO_SERVICE, AudioServicer
from services.node.rpc.servicer import SERVICE, NodeServicer, Parts

log = structlog.get_logger()

TELEMETRY_AGE_S = 1.0
STATUS_AGE_S = 0.8
SSH_KEY_FILE = "node.pub"
"""The node's own public key, if whoever set the node up made one with ssh-keygen."""


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Certificate | None]:
    """Serves for the time of the context."""
    async with AsyncExitStack() as stack:
        certificate = await asyncio.to_thread(certificate_of, settings)
        channels = {
            name: await stack.enter_async_context(open_channel(settings, name, certificate))
            for name in settings.addresses
        }
        options = await asyncio.to_thread(load_options, settings)
        for problem in options.problems:
            log.warning("a setting has no effect", where=problem.where, why=problem.message)
        database = await asyncio.to_thread(
            Database, await asyncio.to_thread(settings.state_dir, "node") / "node.sqlite3", MIGRATIONS
        )
        stack.callback(database.close)
        parts, controllers = await _parts(settings, options, channels, Outbox(database))
        stack.enter_context(uevents.hearing(parts.inventory.scan_soon))
        audio = AudioServicer(PulseAudio())

        def register(server: grpc.aio.Server) -> None:
            node_pb2_grpc.add_NodeServiceServicer_to_server(NodeServicer(parts), server)
            audio_pb2_grpc.add_AudioServiceServicer_to_server(audio, server)

        names = [SERVICE.full_name, AUDIO_SERVICE.full_name]
        verifier = TokenVerifier(settings.public_dir)
        await stack.enter_async_context(
            serving(
                settings.addresses["node"],
                names,
                register,
                verifier,
                lambda: gauges(parts.inventory, parts.provisioning),
                certificate,
            )
        )
        await stack.enter_async_context(controllers.running(parts.provisioning))
        await stack.enter_async_context(discoverable(settings, parts.inventory.software))
        provisioning = asyncio.create_task(
            self_provision(settings.home, parts.provisioning, _zerotier_dir(options))
        )
        stack.push_async_callback(cancelled, provisioning)
        yield certificate


async def _parts(
    settings: Settings, options: Options, channels: dict[str, grpc.aio.Channel], outbox: Outbox
) -> tuple[Parts, Controllers]:
    inventory = Inventory(
        sysfs.scan_hardware,
        await asyncio.to_thread(sysfs.scan_hardware),
        await asyncio.to_thread(sysfs.read_software),
    )
    chutes = ChuteClient(channels["chutes"], channels["network"], settings.service_token_file)
    neighbours = Neighbours(channels, chutes, settings.service_token_file)
    home = await asyncio.to_thread(settings.state_dir, "node")
    file = JsonProvisionFile(home / "provision.json", settings.public_dir / "controller.json")
    defaults = Provision(options.text("pdserver"), options.text("wamp_router"))
    present = await asyncio.to_thread(file.load, defaults)
    lines = NodeLines(
        [channel for name, channel in channels.items() if name != "node"], settings.service_token_file
    )
    observer = NodeObserver(channels["chutes"], settings.service_token_file, outbox, inventory)
    telemetry = Cached(partial(_telemetry, chutes), TELEMETRY_AGE_S)
    status = Cached(partial(_status, readings.ProcessorLoad()), STATUS_AGE_S)
    around = Surroundings(
        Sources(channels, settings.service_token_file, observer, lines, telemetry),
        outbox,
        Credentials(settings.controller_ca, settings.controller_cert, settings.controller_key),
    )

    def connect(provision: Provision) -> Connection:
        if urlsplit(provision.pdserver).scheme in LINK_SCHEMES:
            return Link(provision, around)
        return HttpReports(
            provision,
            chutes=channels["chutes"],
            token_file=settings.service_token_file,
            outbox=outbox,
            observer=observer,
            inventory=inventory,
            telemetry=lambda: as_json(telemetry),
            status=lambda: as_json(status),
            host_config=neighbours.host_config,
            ssh_key_file=settings.home / SSH_KEY_FILE,
            zerotier_dir=_zerotier_dir(options),
        )

    controllers = Controllers(connect, observer)
    provisioning = Provisioning(file, present, defaults, controllers)
    others = partial(
        _known_elsewhere,
        neighbours=neighbours,
        inventory=inventory,
        options=options,
        provisioning=provisioning,
    )
    parts = Parts(
        inventory=inventory,
        capabilities=neighbours,
        telemetry=telemetry,
        status=status,
        provisioning=provisioning,
        options=options,
        keys=SshKeys(AuthorizedKeys(), find_account, load_key),
        lines=lines,
        facts=FactFinder(settings, others),
    )
    return parts, controllers


async def _telemetry(chutes: ChuteClient) -> node_pb2.GetTelemetryResponse:
    facts = await chutes.facts()
    return documents.to_telemetry(await asyncio.to_thread(readings.telemetry, facts))


async def _status(processors: readings.ProcessorLoad) -> node_pb2.GetStatusResponse:
    return documents.to_status(await asyncio.to_thread(readings.status, processors))


async def _known_elsewhere(
    machine: Facts,
    *,
    neighbours: Neighbours,
    inventory: Inventory,
    options: Options,
    provisioning: Provisioning,
) -> Facts:
    """Adds what other parts of the node know to what this machine tells."""
    healths, engine, wanted = await asyncio.gather(
        neighbours.healths(), neighbours.engine_available(), neighbours.wanted_radios()
    )
    return replace(
        machine,
        services=healths,
        engine_available=engine,
        wanted_radios=wanted,
        radios=[radio.id for radio in inventory.hardware.radios],
        settings_problems=list(map(str, options.problems)),
        controller=provisioning.present.pdserver if provisioning.present.provisioned else "",
        controller_connected=provisioning.connected,
        controller_trouble=provisioning.trouble.message if provisioning.trouble else "",
    )


def _zerotier_dir(options: Options) -> Path:
    return Path(options.text("zerotier_lib_dir"))


async def as_json(cached: Cached[Any]) -> dict[str, Any]:
    """Returns a report as the plain JSON that it is over HTTP."""
    return json_format.MessageToDict(await cached.get(), always_print_fields_with_no_presence=True)


async def cancelled(task: "asyncio.Task[None]") -> None:
    """Ends a task that runs beside the service."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
