"""Gives a node that is fresh from the factory the identity that its batch promises."""

import asyncio
from pathlib import Path

import psutil
import structlog
import yaml

from services.node.adapters.controller_api import RefusedError, backoffs, provision_by_batch
from services.node.adapters.zerotier import read_address
from services.node.domain.provision import Provisioning

log = structlog.get_logger()

FILE = "provision.yaml"
INTERFACE = "eth0"


async def self_provision(folder: Path, provisioning: Provisioning, zerotier_dir: Path) -> None:
    """Tries until the controller answers, if the folder has a file with `batch_id` and `batch_key`."""
    if provisioning.present.provisioned:
        return
    batch = await asyncio.to_thread(_read, folder / FILE)
    if batch is None:
        return
    for pause_s in backoffs():
        try:
            mac = await asyncio.to_thread(_mac)
            address = await asyncio.to_thread(read_address, zerotier_dir)
            found = await provision_by_batch(provisioning.present, *batch, mac, address)
        except RefusedError as error:
            log.warning("the controller gives this node no identity", status=error.status)
        except OSError as error:
            log.debug("the controller cannot be asked for an identity", why=str(error))
        else:
            log.info("the node has provisioned itself", pdid=found.router_id)
            await provisioning.remember(found)
            return
        await asyncio.sleep(pause_s)
        if provisioning.present.provisioned:
            return


def _read(path: Path) -> tuple[str, str] | None:
    try:
        document = yaml.safe_load(path.read_bytes())
        return str(document["batch_id"]), str(document["batch_key"])
    except FileNotFoundError:
        return None
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        log.warning("a file cannot be read; it needs batch_id and batch_key", file=str(path))
        return None


def _mac() -> str:
    cards = psutil.net_if_addrs()
    for name in (INTERFACE, *sorted(cards)):
        for address in cards.get(name, ()):
            if address.family == psutil.AF_LINK and address.address.strip("0:"):
                return str(address.address)
    return ""
