"""State of every earlier version is taken over.

Each file `SERVICE-SCHEMA-COMMIT.sql` beside this one is the dump of a database that the code of that commit
wrote: one for every schema, and for every form of the documents in it, that has been on the main branch.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from services.airshark.adapters import detection_store
from services.auth.adapters import store as auth_store
from services.auth.adapters.store import SqliteStore
from services.chutes.adapters import store as chutes_store
from services.common.database import Database
from services.common.identity import Role
from services.network.adapters import store as network_store
from services.node.adapters import outbox

FOLDER = Path(__file__).parent
MIGRATIONS = {
    "airshark": detection_store.MIGRATIONS,
    "auth": auth_store.MIGRATIONS,
    "chutes": chutes_store.MIGRATIONS,
    "network": network_store.MIGRATIONS,
    "node": outbox.MIGRATIONS,
}


def dumps(service: str) -> list[str]:
    return sorted(path.stem for path in FOLDER.glob(f"{service}-*.sql"))


@pytest.fixture
def file(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The database of a dump."""
    return loaded(request.param, tmp_path)


@pytest.fixture
def database(file: Path) -> Iterator[Database]:
    """The same, opened by the present code."""
    with opened(file) as database:
        yield database


def loaded(dump: str, folder: Path) -> Path:
    file = folder / f"{dump}.sqlite3"
    with closing(sqlite3.connect(file)) as database:
        database.executescript((FOLDER / f"{dump}.sql").read_text())
    return file


@contextmanager
def opened(file: Path) -> Iterator[Database]:
    with closing(Database(file, MIGRATIONS[file.stem.partition("-")[0]])) as database:
        yield database


def structure(file: Path) -> list[tuple[object, ...]]:
    """Returns the columns of all tables: what CREATE and what ALTER made look alike."""
    with closing(sqlite3.connect(file)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return sorted(
            (t, c[1], c[2], c[3]) for t in tables for c in database.execute(f"PRAGMA table_info({t})")
        )


@pytest.mark.parametrize("service", MIGRATIONS)
def test_there_is_a_dump_of_every_schema(service: str) -> None:
    versions = {int(re.split("-", name)[1]) for name in dumps(service)}
    assert versions == set(range(1, len(MIGRATIONS[service]) + 1)), (
        "dump a database that the version before wrote, and put it here"
    )


@pytest.mark.parametrize("service", MIGRATIONS)
def test_all_come_to_the_schema_of_a_new_database(service: str, tmp_path: Path) -> None:
    new = tmp_path / f"{service}-new.sqlite3"
    files = [new, *(loaded(name, tmp_path) for name in dumps(service))]
    for file in files:
        with opened(file):
            pass
        assert structure(file) == structure(new), file


@pytest.mark.parametrize("file", dumps("auth"), indirect=True)
async def test_users_and_tokens(file: Path) -> None:
    async with SqliteStore.opened(file) as store:
        users = {user.name: user for user in await store.users()}
        assert (users["paradrop"].role, users["guest"].role) == (Role.OWNER, Role.GUEST)
        assert users["paradrop"].password_hash == await store.bootstrap_hash()
        (token,) = await store.chute_tokens()
        assert (token.chute, token.digest) == ("hello", b"\x01" * 32)
        ((_, login),) = await store.logins(None, 10)
        assert (login.username, login.address) == ("paradrop", "192.0.2.1")
        assert await store.next_generation() == 4


@pytest.mark.parametrize("file", dumps("chutes"), indirect=True)
async def test_chutes_and_changes(database: Database) -> None:
    store = chutes_store.Store(database)
    (chute,), (created, failed, running, queued) = await store.load()
    assert (chute.name, chute.version, chute.owner.name) == ("hello", 3, "paradrop")
    assert chute.images == {"main": "hello-main:3"}
    assert chute.environment == {"GREETING": "hello"}
    assert chute.token == "a-token"
    (service,) = chute.spec.services.values()
    assert service.environment == {"GREETING": "hello"}
    assert [(port.container_port, port.host_port) for port in service.port_bindings] == [(8000, 8000)]
    assert chute.spec.web is not None
    assert (chute.spec.web.service, chute.spec.web.port) == ("main", 8000)

    assert (created.status, created.phase) == ("succeeded", "ended")
    assert [text for _, text in await store.lines(created.id)] == ["built"]
    assert failed.failure is not None
    assert (failed.status, failed.failure.reason, failed.failure.undone) == (
        "failed",
        "BUILD_FAILED",
        True,
    )

    # What was under way when the old version stopped is finished or undone by the new one.
    assert (running.status, running.phase, running.step) == ("processing", "doing", "build main")
    assert running.situation is not None
    assert (running.situation.old, running.situation.new) == (chute, chute)
    assert running.request.workspace == "w3"
    assert running.request.spec == chute.spec
    assert (queued.status, queued.request.type) == ("queued", "restart")
    assert queued.request.environment == {"GREETING": "hi"}


@pytest.mark.parametrize("file", dumps("network"), indirect=True)
async def test_networks_and_versions(database: Database) -> None:
    store = network_store.Store(database)
    (record,) = await store.chutes()
    assert record.owner.chute == "hello"
    (network,) = record.networks
    assert network.wanted.wireless is not None
    assert (network.wanted.wireless.ssid, network.wanted.wireless.key) == ("hello", "password!")
    (version,) = await store.versions()
    assert (version.version, version.author) == (1, "paradrop")
    assert await store.document(1) == {"wan": {"interface": "eth0", "proto": "dhcp"}}
    state = await store.host_state()
    assert state is not None
    assert (state.version, state.state) == (1, "confirmed")


@pytest.mark.parametrize("file", dumps("airshark"), indirect=True)
async def test_detections(database: Database) -> None:
    store = detection_store.DetectionStore(database)
    (found,) = await store.page(0.0, 2e9, None, 1 << 40, 10)
    assert (found.radio, found.channels, found.track.device.value) == ("radio0", (6,), "microwave")
    assert await store.next_id() == 2


@pytest.mark.parametrize("file", dumps("node"), indirect=True)
async def test_what_the_controller_must_learn(database: Database) -> None:
    box = outbox.Outbox(database)
    assert await box.ended_changes() == {1, 2, 3}
    records = await box.after(0)
    assert [(record.kind, record.payload) for record in records] == [
        ("change", b"\x08\x03"),
        ("state", b"\x10\x01"),
    ]
