"""The domain of the chute service on a real database and real folders, with an engine in memory."""

import asyncio
import json
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.chutes.adapters.downloads import Downloads
from services.chutes.adapters.envoy_files import EnvoyFiles
from services.chutes.adapters.folders import DiskFolders
from services.chutes.adapters.packer import DiskPacker
from services.chutes.adapters.store import MIGRATIONS, Store
from services.chutes.domain import admission, containersteps, gate, settlement, supervisor
from services.chutes.domain.assembly import Domain, running_domain
from services.chutes.domain.change import Change
from services.chutes.domain.containers import NodeAddress
from services.chutes.domain.networkport import Networks, NoNetworks
from services.chutes.domain.nodechange import NodeChange
from services.chutes.domain.policy import NodePolicy
from services.chutes.domain.settlement import Observer
from services.chutes.domain.spec import ChuteSpec, Definition, PortBinding, ServiceSpec, WebSpec
from services.chutes.domain.world import World
from services.common.database import Database
from services.common.identity import Principal, Role
from tests.fakes.engine import FakeEngine
from tests.fakes.priority import FakePriority
from tests.fakes.tokens import FakeTokens

ADMIN = Principal("paradrop", Role.ADMIN)
ALICE = Principal("alice", Role.TRUSTED)
BOB = Principal("bob", Role.TRUSTED)


MAX_DOWNLOAD_BYTES = 4 * 1024 * 1024


class Crash(BaseException):
    """Ends the service in the middle of something, as kill -9 does."""


def spec(name: str = "web", *services: str, version: Any = None, **more: Any) -> ChuteSpec:
    made = {service: ServiceSpec(service) for service in services or ("main",)}
    return ChuteSpec(name, made, version=version, environment={"COLOUR": "green"}, **more)


def web_spec(name: str = "web", version: Any = None) -> ChuteSpec:
    services = {
        "front": ServiceSpec("front", port_bindings=(PortBinding(443, host_port=8443),)),
        "back": ServiceSpec("back", environment={"COLOUR": "blue"}),
    }
    environment = {"COLOUR": "green"}
    return ChuteSpec(name, services, version=version, environment=environment, web=WebSpec("front", 80))


@dataclass
class Bench:
    """A node that can be crashed and started again."""

    home: Path
    engine: FakeEngine = field(default_factory=FakeEngine)
    tokens: FakeTokens = field(default_factory=FakeTokens)
    settle_s: float = 0.0
    policy: NodePolicy = field(default_factory=NodePolicy)
    download_hosts: tuple[str, ...] = ()
    download_ca: Path | None = None
    now_s: float = 1_700_000_000.0
    node_changes: Sequence[NodeChange] = ()
    networks: Networks = field(default_factory=NoNetworks)

    priority: FakePriority = field(default_factory=FakePriority)
    grace_s: float = 0.0

    @property
    def web(self) -> Path:
        return self.home / "web"

    def clock(self) -> float:
        self.now_s += 1
        return self.now_s

    @asynccontextmanager
    async def running(self, observer: Observer | None = None) -> AsyncIterator["RunningBench"]:
        self.web.mkdir(parents=True, exist_ok=True)
        folders = await asyncio.to_thread(DiskFolders, self.home)
        with closing(await asyncio.to_thread(Database, self.home / "chutes.sqlite3", MIGRATIONS)) as database:
            world = World(
                engine=self.engine,
                tokens=self.tokens,
                folders=folders,
                journal=Store(database),
                node=NodeAddress(8080),
                web=EnvoyFiles(self.web),
                priority=self.priority,
                networks=self.networks,
                node_changes=self.node_changes,
                fetcher=Downloads(folders, MAX_DOWNLOAD_BYTES, self.download_hosts, self.download_ca),
                packer=DiskPacker(folders),
                policy=self.policy,
                clock=self.clock,
                settle_s=self.settle_s,
                grace_s=self.grace_s,
            )
            async with running_domain(world, observer) as domain:
                yield RunningBench(self, domain, folders, world, database)

    def copy(self, home: Path) -> "Bench":
        """Returns another node in the same state."""
        shutil.copytree(self.home, home, dirs_exist_ok=True)
        return Bench(
            home, self.engine.copy(self.home, home), self.tokens.copy(), self.settle_s, now_s=self.now_s
        )

    def files(self) -> list[str]:
        """Everything in the folders of the chutes, without what installed ones were built from."""
        sources = set(self.sources().values())
        return sorted(
            str(path.relative_to(self.home))
            for folder in ("data", "system", "work", "trash", "uploads", "kept")
            for path in (self.home / folder).rglob("*")
            if folder != "work" or path.relative_to(self.home).parts[1] not in sources
        )

    def sources(self) -> dict[str, str]:
        """The workspaces of the chutes that were built, all of which are there."""
        with closing(sqlite3.connect(self.home / "chutes.sqlite3")) as database:
            documents = [json.loads(row[0]) for row in database.execute("SELECT document FROM chutes")]
        kept = {each["spec"]["name"]: each["sources"] for each in documents if each["sources"]}
        assert all((self.home / "work" / each).is_dir() for each in kept.values()), kept
        return kept


@dataclass
class RunningBench:
    bench: Bench
    domain: Domain
    folders: DiskFolders
    world: World
    database: Database

    def unpack(self) -> str:
        """Stands for an upload that was unpacked and found good."""
        workspace = Path(tempfile.mkdtemp(dir=self.bench.home / "work"))
        (workspace / "Dockerfile").write_text("FROM scratch\n")
        return workspace.name

    def unpack_data(self, text: str = "from elsewhere") -> str:
        """Stands for the data of an archive that was found good."""
        data = Path(tempfile.mkdtemp(dir=self.bench.home / "work"))
        (data / "kept").write_text(text)
        return data.name

    async def install(
        self, what: ChuteSpec, by: Principal = ADMIN, replace: bool = False, ends: bool = True
    ) -> Change:
        change_id = await self.domain.manager.install(Definition(what, {}), self.unpack(), by, replace)
        return await self.ended(change_id) if ends else self.domain.queue.find(change_id)

    async def command(
        self,
        command: Any,
        name: str = "web",
        by: Principal = ADMIN,
        environment: Mapping[str, str] | None = None,
    ) -> Change:
        return await self.ended(await self.domain.manager.command(command, name, by, environment))

    async def ended(self, change_id: int) -> Change:
        """Waits for the end of a change as any watcher does."""
        change = self.domain.queue.find(change_id)
        async with asyncio.timeout(20):
            async for event in self.domain.watcher.watch(change):
                if event.ended:
                    assert event.ended.ended
                    return event.ended
        raise AssertionError("the watch ended without the change")

    async def lines(self, change_id: int) -> list[str]:
        return [text for _, text in await self.world.journal.lines(change_id)]


@contextmanager
def without_pauses() -> Iterator[None]:
    """Lets retries follow each other at once: the fakes need no time to recover."""
    patched = [
        (settlement, "TRY_INTERVAL_S"),
        (admission, "LOCK_INTERVAL_S"),
        (containersteps, "VERIFY_INTERVAL_S"),
        (gate, "RETRY_INTERVAL_S"),
        (supervisor, "RETRY_INTERVAL_S"),
    ]
    before = [(module, name, getattr(module, name)) for module, name in patched]
    for module, name in patched:
        setattr(module, name, 0.005)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
