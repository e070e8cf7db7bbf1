"""A backup holds everything that is kept, also of a node that runs, and comes back whole or not at all."""

import gzip
import os
import socket
import sqlite3
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pytest

from services.launcher.backup import MANIFEST, back_up, restore
from services.launcher.errors import StartError
from services.launcher.lock import locked
from tests.launcher.test_launcher_command import paradrop


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    for folder in ("auth", "chutes/data/web/sub", "run", "logs"):
        (home / folder).mkdir(parents=True)
    with closing(sqlite3.connect(home / "auth" / "auth.sqlite3")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE users (name TEXT)")
        database.execute("INSERT INTO users VALUES ('paradrop')")
        database.commit()
    secret = home / "admin-password"
    secret.write_text("swordfish\n")
    secret.chmod(0o600)
    shared = home / "chutes" / "data" / "web" / "sub" / "shared"
    shared.write_bytes(b"x" * 100_000)
    shared.chmod(0o666)
    (home / "chutes" / "data" / "web" / "link").symlink_to("/etc/hostname")
    (home / "run" / "auth.sock").write_text("")
    return home


def users(home: Path) -> list[str]:
    with closing(sqlite3.connect(home / "auth" / "auth.sqlite3")) as database:
        return [name for (name,) in database.execute("SELECT name FROM users")]


def test_what_is_kept_comes_back_elsewhere(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "node.backup"
    assert back_up(home, file) == file.stat().st_size
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    other = tmp_path / "deep" / "other"
    assert restore(file, other) is None

    assert users(other) == ["paradrop"]
    assert (other / "admin-password").read_text() == "swordfish\n"
    assert stat.S_IMODE((other / "admin-password").stat().st_mode) == 0o600
    assert stat.S_IMODE(other.stat().st_mode) == 0o700
    shared = other / "chutes" / "data" / "web" / "sub" / "shared"
    assert shared.read_bytes() == b"x" * 100_000
    assert stat.S_IMODE(shared.stat().st_mode) == 0o666
    assert os.readlink(other / "chutes" / "data" / "web" / "link") == "/etc/hostname"
    assert not (other / "run").exists()
    assert not (other / "logs").exists()


def test_a_database_in_use_is_copied_with_what_is_committed(home: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(home / "auth" / "auth.sqlite3")) as database:
        database.execute("INSERT INTO users VALUES ('committed')")
        database.commit()
        database.execute("INSERT INTO users VALUES ('not yet')")
        back_up(home, tmp_path / "node.backup")
    restore(tmp_path / "node.backup", tmp_path / "other")

    assert users(tmp_path / "other") == ["paradrop", "committed"]


def test_sockets_are_left_out(home: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(home / "chutes" / "data" / "web" / "s"))
        back_up(home, tmp_path / "node.backup")
    restore(tmp_path / "node.backup", tmp_path / "other")

    assert not (tmp_path / "other" / "chutes" / "data" / "web" / "s").exists()


def test_what_was_there_is_kept_beside(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "node.backup"
    back_up(home, file)
    (home / "admin-password").write_text("changed\n")

    earlier = restore(file, home)

    assert earlier is not None
    assert (earlier / "admin-password").read_text() == "changed\n"
    assert (home / "admin-password").read_text() == "swordfish\n"


def test_a_running_node_is_not_replaced(home: Path, tmp_path: Path) -> None:
    back_up(home, tmp_path / "node.backup")
    with locked(home), pytest.raises(StartError, match="stop it"):
        restore(tmp_path / "node.backup", home)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["home", "node.backup"]


def test_a_file_is_not_overwritten(home: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    with pytest.raises(StartError, match="exists"):
        back_up(home, tmp_path / "precious")
    assert (tmp_path / "precious").read_text() == "x"


def test_nothing_is_no_backup(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with pytest.raises(StartError, match="PARADROP_HOME"):
        back_up(tmp_path / "home", tmp_path / "node.backup")
    assert not (tmp_path / "node.backup").exists()


def archive(*members: tuple[str, bytes]) -> bytes:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, BytesIO(content))
    return buffer.getvalue()


GOOD = (MANIFEST, b'{"format": 1}')


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        gzip.compress(b"text"),
        archive(("x", b"")),
        archive((MANIFEST, b'{"format": 99}')),
        archive((MANIFEST, b"[]")),
        archive((MANIFEST, b"{")),
        archive(GOOD, ("../outside", b"x")),
        archive(GOOD, ("a", os.urandom(100_000)))[:-50_000],
    ],
    ids=["empty", "text", "gzip", "other tar", "newer", "list", "no json", "outside", "cut off"],
)
def test_what_is_no_whole_backup_changes_nothing(home: Path, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "node.backup"
    file.write_bytes(content)

    with pytest.raises(StartError, match="backup"):
        restore(file, home)

    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["home", "node.backup"]
    assert users(home) == ["paradrop"]


def test_a_file_that_is_not_there(home: Path, tmp_path: Path) -> None:
    with pytest.raises(StartError, match="There is no file"):
        restore(tmp_path / "none", home)


@pytest.mark.thorough
def test_on_the_command_line(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "node.backup"

    assert paradrop(home, "backup", str(file)).returncode == 0
    assert "is as it was" in paradrop(home, "restore", str(file)).stdout
    refused = paradrop(home, "backup", str(file))
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)


def test_folders_that_are_not_to_be_written_to_come_back(home: Path, tmp_path: Path) -> None:
    sub = home / "chutes" / "data" / "web" / "sub"
    sub.chmod(0o555)
    os.utime(sub, (1e9, 1e9))
    back_up(home, tmp_path / "node.backup")
    restore(tmp_path / "node.backup", tmp_path / "other")
    again = tmp_path / "other" / "chutes" / "data" / "web" / "sub"
    assert stat.S_IMODE(again.stat().st_mode) == 0o555
    assert again.stat().st_mtime == 1e9
    assert (again / "shared").is_file()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
class TestVolumes:
    @pytest.fixture
    def volumes(self, tmp_path: Path) -> Iterator[Path]:
        """A state folder one of whose parts is another file system."""
        target = tmp_path / "volumes"
        for name in ("auth", "chutes"):
            (target / name).mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", target / "chutes"], check=True)
        try:
            yield target
        finally:
            subprocess.run(["umount", target / "chutes"], check=True)

    def test_empty_ones_are_filled(self, home: Path, volumes: Path, tmp_path: Path) -> None:
        back_up(home, tmp_path / "node.backup")
        assert restore(tmp_path / "node.backup", volumes) is None
        assert (volumes / "chutes").is_mount()
        assert users(volumes) == ["paradrop"]
        assert (volumes / "chutes" / "data" / "web" / "sub" / "shared").stat().st_size == 100_000

    def test_what_holds_state_stays(self, home: Path, volumes: Path, tmp_path: Path) -> None:
        back_up(home, tmp_path / "node.backup")
        (volumes / "chutes" / "node-id").write_text("mine")
        with pytest.raises(StartError, match="node-id is there already"):
            restore(tmp_path / "node.backup", volumes)
        assert sorted(path.name for path in (volumes / "chutes").iterdir()) == ["node-id"]

    def test_a_broken_file_leaves_them_empty(self, home: Path, volumes: Path, tmp_path: Path) -> None:
        back_up(home, tmp_path / "node.backup")
        whole = (tmp_path / "node.backup").read_bytes()
        (tmp_path / "node.backup").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(StartError, match="no whole backup"):
            restore(tmp_path / "node.backup", volumes)
        assert not list((volumes / "chutes").iterdir())
        assert not list((volumes / "auth").iterdir())
