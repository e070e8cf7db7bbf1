"""Files of chutes that are elsewhere, fetched from a real HTTPS server and real git repositories."""

import asyncio
import gzip
import io
import os
import shutil
import sqlite3
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chutes.adapters import disk
from services.chutes.adapters.addresses import is_public, resolve
from services.chutes.domain.chutefile import read_definition
from services.chutes.domain.fetching import STEP
from services.common.errors import DomainError
from tests.chutes.bench import ADMIN, MAX_DOWNLOAD_BYTES, Bench, Crash
from tests.chutes.client import Client
from tests.chutes.served import Served, serving_bench
from tests.chutes.test_descriptions import config, install, refused, struct
from tests.support.cases import thorough_but
from tests.support.engine import chute_tar
from tests.support.files_server import FilesServer, files_server, git_commit, git_repository
from tests.support.publisher import Publisher

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

FILES = {
    "paradrop.yaml": "name: web\nversion: 3\nenvironment: {A: file, B: file}\n"
    "services: {main: {command: run}}\n",
    "Dockerfile": "FROM scratch\n",
    "src/main.py": "print()\n",
}
TAR = chute_tar(FILES)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FilesServer]:
    with files_server(tmp_path) as server:
        server.files["/web.tar"] = TAR
        yield server


@pytest.fixture
async def node(
    bench: Bench, publisher: Publisher, address: str, server: FilesServer
) -> AsyncIterator[Served]:
    bench.download_hosts, bench.download_ca = ("localhost",), server.ca_file
    async with serving_bench(bench, publisher, address) as served:
        yield served


async def failure(client: Client, url: str, **download: Any) -> tuple[str, str]:
    """Installs what must fail, and returns the reason and everything that was said."""
    document = {"name": "web", "download": {"url": url, **download}}
    lines, failure = await client.failed(await client.call_id("InstallChute", config=struct(document)))
    assert await client.chutes() == {}
    return failure.reason, "\n".join([*lines, failure.message])


def left(node: Served) -> list[str]:
    return [path for path in node.bench.files() if not path.startswith(("data", "system"))]


async def test_a_preview_fetches_the_files_and_removes_them(node: Served, server: FilesServer) -> None:
    client, before = node.client(), node.bench.files()
    document = {"name": "web", "download": {"url": server.url("/web.tar")}}
    reply = await client.call("InstallChute", config=struct(document), dry_run=True)
    assert [step.name for step in reply.plan.steps][:2] == ["check_disk", "build_image main"]
    assert node.bench.files() == before
    document["download"] = {"url": server.url("/missing.tar")}
    assert (await refused(client.call("InstallChute", config=struct(document), dry_run=True)))[1]
    assert node.bench.files() == before
    assert (await client.call("ListChanges", include_ended=True)).changes == []


async def test_a_tar_is_fetched_and_installed(node: Served, server: FilesServer) -> None:
    client = node.client()
    lines = await install(client, name="web", download={"url": server.url("/web.tar")})
    assert lines[0] == "Calling download_chute_files"
    shown = await config(client)
    assert (shown["version"], shown["environment"]) == (3, {"A": "file", "B": "file"})
    assert shown["services"]["main"]["command"] == "run"
    assert left(node) == []
    (change,) = (await client.call("ListChanges", include_ended=True)).changes
    assert (change.update_type, change.version.string_value[:1]) == ("create", "x")


async def test_what_the_request_says_goes_before_the_file(node: Served, server: FilesServer) -> None:
    client = node.client()
    await install(
        client,
        name="web",
        version="4.1",
        environment={"A": "request"},
        download={"url": server.url("/web.tar")},
    )
    shown = await config(client)
    assert (shown["version"], shown["environment"]) == ("4.1", {"A": "request"})
    plan = node.bench.engine.running["web-main"].plan
    assert (plan.environment["A"], plan.environment["PARADROP_CHUTE_VERSION"]) == ("request", "4.1")


async def test_an_update_is_fetched(node: Served, server: FilesServer) -> None:
    client = node.client()
    await install(client, name="web", download={"url": server.url("/web.tar")})
    server.files["/web.tar"] = chute_tar({**FILES, "paradrop.yaml": "name: web\nversion: 4\n"})
    document = {"download": {"url": server.url("/web.tar")}}
    await client.done(await client.call_id("UpdateChute", chute="web", config=struct(document)))
    assert (await config(client))["version"] == 4


async def test_an_upload_may_say_where_the_files_are(node: Served, server: FilesServer) -> None:
    client = node.client()
    text = f"name: web\nversion: 9\nconfig: {{download: {{url: '{server.url('/web.tar')}'}}}}\n"
    lines = await client.done(await client.upload(chute_tar({"paradrop.yaml": text})))
    assert "Calling download_chute_files" in lines
    assert (await config(client))["version"] == 9
    assert left(node) == []


@pytest.mark.parametrize("folder", ["", "owner-web-1a2b3c/"])
async def test_archives_of_code_hosts_are_understood(folder: str, node: Served, server: FilesServer) -> None:
    tar = chute_tar({f"{folder}{name}": content for name, content in FILES.items()})
    server.files["/web.tar.gz"] = gzip.compress(tar)
    client = node.client()
    await install(client, name="web", download={"url": server.url("/web.tar.gz")})
    assert (await config(client))["version"] == 3


async def test_a_dockerfile_alone_will_do(node: Served, server: FilesServer) -> None:
    server.files["/web.tar"] = chute_tar({"Dockerfile": "FROM scratch\n"})
    client = node.client()
    await install(client, name="web", config={"web": {"port": 80}}, download={"url": server.url("/web.tar")})
    assert (await config(client))["web"] == {"service": "main", "port": 80}


async def test_credentials_reach_the_server_and_nobody_else(
    node: Served, server: FilesServer, logged: list[Any]
) -> None:
    server.credentials = ("alice", "hunter2")
    client = node.client()
    secret = {"user": "alice", "secret": "hunter2"}
    lines = await install(
        client, name="web", download={"url": server.url("/web.tar?token=hunter2"), **secret}
    )
    seen = [lines, await config(client), logged, str(node.node.domain.registry.installed)]
    seen.append(str(await client.call("ListChanges", include_ended=True)))
    assert "hunter2" not in str(seen)
    assert "hunter2" not in str(await node.node.database.run(_rows))
    await client.done(await client.call_id("DeleteChute", chute="web"))
    reason, said = await failure(client, server.url("/web.tar"), user="alice", secret="hunter3")
    assert reason == "DOWNLOAD_DENIED"
    assert "hunter3" not in said
    assert "hunter3" not in str([logged, await node.node.database.run(_rows)])


def _rows(connection: sqlite3.Connection) -> list[str]:
    tables = ("changes", "chutes", "messages")
    return [str(tuple(row)) for table in tables for row in connection.execute(f"SELECT * FROM {table}")]


async def test_redirects_are_followed_without_credentials(node: Served, server: FilesServer) -> None:
    server.moved["/old.tar"] = server.url("/web.tar", host="127.0.0.1")
    node.bench.engine.built.clear()
    client = node.client()
    secret = {"user": "alice", "secret": "hunter2"}
    reason, _ = await failure(client, server.url("/old.tar"), **secret)
    assert reason == "DOWNLOAD_HOST_NOT_ALLOWED"
    server.moved["/old.tar"] = "/web.tar"
    await install(client, name="web", download={"url": server.url("/old.tar"), **secret})
    assert [bool(header) for _, header in server.asked] == [True, True, True]


@pytest.mark.parametrize("location", ["http://localhost/x", "file:///etc/passwd", "ftp://x/y"])
async def test_redirects_to_something_else_are_refused(
    location: str, node: Served, server: FilesServer
) -> None:
    server.moved["/old.tar"] = location
    assert (await failure(node.client(), server.url("/old.tar")))[0] == "DOWNLOAD_SCHEME_NOT_ALLOWED"


def _bomb() -> bytes:
    return gzip.compress(chute_tar({"paradrop.yaml": "name: web"}) + bytes(20 * MAX_DOWNLOAD_BYTES), 1)


def _escaping() -> bytes:
    output = io.BytesIO(TAR)
    with tarfile.open(fileobj=output, mode="a") as tar:
        tar.addfile(tarfile.TarInfo("../../x"))
    return output.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (bytes(MAX_DOWNLOAD_BYTES + 1), "DOWNLOAD_TOO_LARGE"),
        (_bomb, "DOWNLOAD_TOO_LARGE"),
        (b"", "TAR_CORRUPT"),
        (b"<html>this is not a chute</html>" * 100, "TAR_CORRUPT"),
        (gzip.compress(TAR)[:-20], "DOWNLOAD_FAILED"),
        (b"\x1f\x8b" + bytes(100), "DOWNLOAD_FAILED"),
        (_escaping(), "TAR_UNSAFE_PATH"),
        (chute_tar({"README": "x"}), "CHUTE_FILE_MISSING"),
        (chute_tar({"paradrop.yaml": "name: other", "Dockerfile": "FROM scratch"}), None),
        (chute_tar({"paradrop.yaml": "servces: {}"}), "CHUTE_FILE_INVALID"),
        (chute_tar({"paradrop.yaml": "services: {m: {requests: {privileged: true}}}"}),
         "PRIVILEGED_NOT_ALLOWED"),
    ],
)  # fmt: skip
async def test_bad_files_are_refused_and_leave_nothing(
    content: bytes | Callable[[], bytes], reason: str | None, node: Served, server: FilesServer
) -> None:
    server.files["/web.tar"] = content if isinstance(content, bytes) else content()
    if reason is None:
        # The request names the chute, and what it says goes before the file.
        await install(node.client(), name="web", download={"url": server.url("/web.tar")})
    else:
        assert (await failure(node.client(), server.url("/web.tar")))[0] == reason
    assert left(node) == []


async def test_what_does_not_come_whole_is_refused(node: Served, server: FilesServer) -> None:
    server.cut.add("/web.tar")
    assert (await failure(node.client(), server.url("/web.tar")))[0] == "DOWNLOAD_FAILED"
    assert (await failure(node.client(), server.url("/absent.tar")))[0] == "DOWNLOAD_FAILED"
    assert left(node) == []


async def test_a_server_must_prove_who_it_is(bench: Bench, publisher: Publisher, address: str,
                                             server: FilesServer) -> None:  # fmt: skip
    bench.download_hosts = ("localhost",)
    async with serving_bench(bench, publisher, address) as node:
        reason, _ = await failure(node.client(), server.url("/web.tar"))
        assert reason == "DOWNLOAD_CERTIFICATE_INVALID"
        if shutil.which("git"):
            assert (await failure(node.client(), server.url("/x.git")))[0] == "DOWNLOAD_FAILED"
    assert server.asked == []


@pytest.mark.parametrize("kind", ["http", "git"])
async def test_hosts_of_private_networks_are_not_asked(
    kind: str, bench: Bench, publisher: Publisher, address: str, server: FilesServer
) -> None:
    bench.download_ca = server.ca_file
    async with serving_bench(bench, publisher, address) as node:
        for host in ("localhost", "127.0.0.1", "2130706433", "0x7f.1"):
            reason, _ = await failure(node.client(), server.url("/web.tar", host), type=kind)
            assert reason == "DOWNLOAD_HOST_NOT_ALLOWED"
    assert server.asked == []


async def test_a_host_without_an_address_is_told(node: Served) -> None:
    reason, _ = await failure(node.client(), "https://nowhere.invalid/web.tar")
    assert reason == "DOWNLOAD_HOST_UNKNOWN"


async def test_a_full_disk_is_told(node: Served, server: FilesServer, monkeypatch: Any) -> None:
    monkeypatch.setattr(disk, "MIN_FREE_BYTES", 2**60)
    assert (await failure(node.client(), server.url("/web.tar")))[0] == "DISK_FULL"
    assert left(node) == []


@pytest.mark.parametrize(
    "url", ["http://example.org/x", "ssh://git@example.org/x.git", "git@example.org:x.git"]
)
async def test_other_schemes_are_refused_at_once(url: str, node: Served) -> None:
    client = node.client()
    call = client.call("InstallChute", config=struct({"name": "web", "download": {"url": url}}))
    assert (await refused(call))[1:] == ("DOWNLOAD_SCHEME_NOT_ALLOWED", "config.download.url")


async def test_what_is_fetched_survives_a_crash(
    bench: Bench, publisher: Publisher, address: str, server: FilesServer
) -> None:
    """After the download the files are the change's: it goes on with them, even if the server is gone."""
    bench.download_hosts, bench.download_ca = ("localhost",), server.ca_file
    bench.engine.build_pause.clear()
    async with serving_bench(bench, publisher, address) as node:
        document = {"name": "web", "download": {"url": server.url("/web.tar"), "user": "a", "secret": "b"}}
        change_id = await node.client().call_id("InstallChute", config=struct(document))
        while not bench.engine.builds_at_once:
            await asyncio.sleep(0.01)
    server.files.clear()
    bench.engine.build_pause.set()
    async with serving_bench(bench, publisher, address) as node:
        await node.client().done(change_id)
        assert len(server.asked) == 1
        assert left(node) == []


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_node_that_always_ends_while_it_fetches_gives_up(
    moment: str, bench: Bench, server: FilesServer
) -> None:
    bench.download_hosts, bench.download_ca = ("localhost",), server.ca_file
    crashed = asyncio.Event()

    def crash(when: str, step: str) -> None:
        if (when, step) == (moment, STEP) and not crashed.is_set():
            crashed.set()
            raise Crash

    definition = read_definition({"name": "web", "download": {"url": server.url("/web.tar")}})
    async with bench.running(crash) as node:
        change_id = await node.domain.manager.install(definition, None, ADMIN, replace=False)
        await crashed.wait()
    for _ in range(2):
        crashed.clear()
        async with bench.running(crash) as node:
            with suppress(TimeoutError):
                await asyncio.wait_for(crashed.wait(), 5 if moment == "before" else 0.5)
    async with bench.running() as node:
        change = await node.ended(change_id)
        if moment == "before":
            assert change.failure is not None
            assert change.failure.reason == "INTERRUPTED"
            assert server.asked == []
        else:
            assert change.status == "succeeded"
            assert len(server.asked) == 1


@pytest.fixture
def repository(server: FilesServer, tmp_path: Path) -> Path:
    server.repositories = tmp_path / "repositories"
    folder = server.repositories / "web.git"
    git_repository(folder, FILES)
    return folder


@needs_git
@pytest.mark.parametrize("kind", thorough_but(["default", "branch", "tag", "commit"], "tag"))
async def test_a_repository_is_fetched(
    kind: str, node: Served, server: FilesServer, repository: Path
) -> None:
    first = await asyncio.to_thread(
        git_commit, repository, {"paradrop.yaml": "name: web\nversion: 7\n"}, "v7"
    )
    await asyncio.to_thread(git_commit, repository, {"paradrop.yaml": "name: web\nversion: 8\n"})
    checkout = {"default": None, "branch": "main", "tag": "v7", "commit": first}[kind]
    client = node.client()
    await install(client, name="web", download={"url": server.url("/web.git"), "checkout": checkout})
    assert (await config(client))["version"] == (8 if kind in ("default", "branch") else 7)
    assert left(node) == []


@needs_git
async def test_credentials_of_a_repository_are_told_to_nobody(
    node: Served, server: FilesServer, repository: Path, logged: list[Any]
) -> None:
    server.credentials = ("alice", "hunter2")
    client = node.client()
    reason, said = await failure(client, server.url("/web.git"), user="alice", secret="hunter3")
    assert reason == "DOWNLOAD_DENIED"
    lines = await install(
        client, name="web", download={"url": server.url("/web.git"), "user": "alice", "secret": "hunter2"}
    )
    seen = str([said, lines, logged, await node.node.database.run(_rows)])
    assert "hunter2" not in seen
    assert "hunter3" not in seen


@pytest.mark.thorough
@needs_git
async def test_what_is_wrong_with_a_repository_is_told(
    node: Served, server: FilesServer, repository: Path
) -> None:
    client = node.client()
    url = server.url("/web.git")
    assert (await failure(client, url, checkout="nothing"))[0] == "DOWNLOAD_CHECKOUT_UNKNOWN"
    assert (await failure(client, server.url("/absent.git")))[0] == "DOWNLOAD_FAILED"
    await asyncio.to_thread(_grow, repository)
    assert (await failure(client, url))[0] == "DOWNLOAD_TOO_LARGE"
    server.moved["/web.git/info/refs"] = server.url("/other.git/info/refs")
    assert (await failure(client, url))[0] == "DOWNLOAD_FAILED"
    assert left(node) == []


def _grow(repository: Path) -> None:
    (repository / "big").write_bytes(os.urandom(MAX_DOWNLOAD_BYTES + 1_000_000))
    git_commit(repository, {})


PRIVATE = [
    *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
    *("224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1"),
    *("::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::ffff:10.0.0.1"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "140.82.121.4", "2606:4700::1111", "64:ff9b::101:101"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_mapped_addresses_are_judged_alike(address: Any) -> None:
    assert is_public(f"::ffff:{address}") == is_public(str(address))


def test_trusted_hosts_may_be_anywhere() -> None:
    assert resolve("127.0.0.1", 443, ("127.0.0.1",)) == ["127.0.0.1"]
    with pytest.raises(DomainError) as caught:
        resolve("127.0.0.1", 443, ("localhost",))
    assert caught.value.reason == "DOWNLOAD_HOST_NOT_ALLOWED"
