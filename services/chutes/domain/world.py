"""What lies outside the domain, gathered for those who run changes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from services.chutes.domain.containers import NodeAddress
from services.chutes.domain.folderport import Folders
from services.chutes.domain.journalport import Journal
from services.chutes.domain.networkport import Networks, NoNetworks
from services.chutes.domain.nodechange import NodeChange
from services.chutes.domain.policy import NodePolicy
from services.chutes.domain.ports import Engine, Fetcher, Packer, TokenIssuer, TrafficPriority, WebGate

SETTLE_S = 0.3
CONCURRENT_BUILDS = 2


@dataclass(frozen=True, slots=True)
class World:
    """What lies outside the domain."""

    engine: Engine
    tokens: TokenIssuer
    folders: Folders
    journal: Journal
    node: NodeAddress
    web: WebGate
    priority: TrafficPriority
    fetcher: Fetcher
    packer: Packer
    grace_s: float
    """How long a new version must run before the one before is given up."""
    networks: Networks = field(default_factory=NoNetworks)
    node_changes: Sequence[NodeChange] = ()
    policy: NodePolicy = field(default_factory=NodePolicy)
    clock: Callable[[], float] = time.time
    settle_s: float = SETTLE_S
    concurrent_builds: int = CONCURRENT_BUILDS
