"""Folders, durable files and tokens."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.chutes.adapters import durable
from services.chutes.adapters.durable import sync_tree
from services.chutes.adapters.folders import CHUTE_UID, DiskFolders
from services.chutes.adapters.tokens import AuthTokens
from services.chutes.app import _node_id
from services.common.errors import DomainError
from services.common.files import StateError
from tests.chutes.bench import Crash


@pytest.fixture
def folders(tmp_path: Path) -> DiskFolders:
    return DiskFolders(tmp_path)


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


EMPTY = {"data", "system", "work", "trash", "uploads", "kept"}


async def test_folders_come_and_go(folders: DiskFolders, tmp_path: Path) -> None:
    await folders.create("web", empty=True)
    assert _names(tmp_path) == EMPTY | {"data/web", "system/web"}
    await folders.create("web", empty=False)
    await folders.remove("web")
    await folders.remove("web")
    assert _names(tmp_path) == EMPTY


async def test_the_container_s_user_may_write_the_data(folders: DiskFolders) -> None:
    await folders.create("web", empty=True)
    data = folders.data("web").stat()
    if os.geteuid() == 0:
        assert data.st_uid == data.st_gid == CHUTE_UID
    else:
        assert data.st_mode & 0o777 == 0o777


async def test_a_new_chute_does_not_inherit_what_was_left(folders: DiskFolders) -> None:
    await folders.create("web", empty=True)
    (folders.data("web") / "secret").write_text("of somebody else")
    await folders.create("web", empty=False)
    assert (folders.data("web") / "secret").exists()
    await folders.create("web", empty=True)
    assert list(folders.data("web").iterdir()) == []


async def test_links_in_data_are_not_followed(folders: DiskFolders, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("kept")
    await folders.create("web", empty=True)
    (folders.data("web") / "link").symlink_to(outside)
    await folders.remove("web")
    assert (outside / "precious").read_text() == "kept"


async def test_cleaning_spares_what_is_named(folders: DiskFolders, tmp_path: Path) -> None:
    for path in ("work/kept/a", "work/gone/a", "trash/gone/a", "data/web/a", "system/web/a"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "uploads" / "gone.tar").write_bytes(b"x")
    await folders.clean(["kept"])
    assert _names(tmp_path) == EMPTY | {
        *("work/kept", "work/kept/a", "data/web", "data/web/a", "system/web", "system/web/a")
    }


@pytest.mark.parametrize("most", [0, 1000])
def test_a_tree_is_synced_with_links_in_it(most: int, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(durable, "MAX_SINGLE_FILES", most)
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "file").write_text("x")
    (tmp_path / "tree" / "dangling").symlink_to("nowhere")
    (tmp_path / "tree" / "folder").symlink_to("deep")
    sync_tree(tmp_path / "tree")


def test_a_node_keeps_its_id(tmp_path: Path) -> None:
    first = _node_id(tmp_path / "node-id")
    assert len(first) == 16
    assert _node_id(tmp_path / "node-id") == first
    for content in (b"", b"\xff\xfe", b"a b"):
        (tmp_path / "node-id").write_bytes(content)
        with pytest.raises(StateError, match="node-id cannot be used"):
            _node_id(tmp_path / "node-id")


async def test_an_auth_service_that_is_away_is_told(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    async with grpc.aio.insecure_channel(f"unix:{tmp_path}/none.sock") as channel:
        tokens = AuthTokens(channel, token_file)
        for act in (tokens.issue, tokens.revoke):
            with pytest.raises(DomainError) as error:
                await act("web")
            assert error.value.reason == "AUTH_KEYS_MISSING"
        await asyncio.to_thread(token_file.write_text, "token")
        for act in (tokens.issue, tokens.revoke):
            with pytest.raises(DomainError) as error:
                await act("web")
            assert error.value.reason == "TOKEN_SERVICE_FAILED"


@pytest.mark.parametrize("way", ["put", "back"])
async def test_data_changes_places_whatever_step_a_crash_let_it_come_to(
    way: str, folders: DiskFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, left = Path.rename, 0

    def crash(path: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left < 0:
            raise Crash
        return rename(path, target)

    def places() -> list[str]:
        return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())

    old, new = ["data/web/old", "work/abc/new"], ["data/web.abc/old", "data/web/new"]
    for renames in range(3):
        await folders.create("web", empty=True)
        folders.workspace("abc").mkdir()
        (folders.workspace("abc") / "new").touch()
        (folders.data("web") / "old").touch()
        if way == "back":
            await folders.put_data("web", "abc")
        else:
            await folders.take_back_data("web", "abc")
            assert places() == old
        left = renames
        monkeypatch.setattr(Path, "rename", crash)
        move = folders._put_data if way == "put" else folders._take_back_data
        paths = folders.data("web"), folders.workspace("abc"), folders._aside("web", "abc")
        with suppress(Crash):
            await asyncio.to_thread(move, *(("web", *paths[1:]) if way == "put" else paths))
        monkeypatch.undo()
        # Forward again, twice, and back again, twice.
        for _ in range(2):
            await folders.put_data("web", "abc")
            assert places() == new, renames
        for _ in range(2):
            await folders.take_back_data("web", "abc")
            assert places() == old, renames
        await folders.remove_earlier_data("web", "abc")
        await folders.remove_workspace("abc")
        await folders.remove("web")
