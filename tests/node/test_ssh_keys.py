"""SSH keys: checked, no duplicates, no tricks with lines or links, and a file that belongs to its user."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from services.node.adapters.key_files import AuthorizedKeys, find_account, load_key
from services.node.domain.ports import Account
from services.node.domain.ssh_keys import SshKeys, fingerprint


def public(key) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


ED25519 = public(ed25519.Ed25519PrivateKey.generate())
ECDSA = public(ec.generate_private_key(ec.SECP256R1()))
RSA = public(rsa.generate_private_key(65537, 2048))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "ada"
    path.mkdir()
    return path


@pytest.fixture
def keys(home: Path) -> SshKeys:
    account = Account("ada", str(home), os.getuid(), os.getgid())
    return SshKeys(AuthorizedKeys(), {"ada": account}.get, load_key)


async def test_keys_are_added_listed_and_removed(keys: SshKeys, home: Path) -> None:
    assert await keys.keys("ada") == []
    for key in (ED25519, f"{ECDSA} ada@home", RSA):
        assert await keys.add("ada", f"  {key}\n") == key
    assert await keys.keys("ada") == [ED25519, f"{ECDSA} ada@home", RSA]
    file = home / ".ssh/authorized_keys"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert await keys.remove("ada", fingerprint(ED25519)) == ED25519
    assert await keys.remove("ada", RSA) == RSA
    assert await keys.keys("ada") == [f"{ECDSA} ada@home"]
    assert sorted(path.name for path in file.parent.iterdir()) == ["authorized_keys"]


async def test_what_people_wrote_into_the_file_stays(keys: SshKeys, home: Path) -> None:
    (home / ".ssh").mkdir()
    (home / ".ssh/authorized_keys").write_text(f'# mine\nfrom="10.0.0.1" {RSA}\n')
    await keys.add("ada", ED25519)
    assert (home / ".ssh/authorized_keys").read_text() == f'# mine\nfrom="10.0.0.1" {RSA}\n{ED25519}\n'
    with pytest.raises(AlreadyExists):
        await keys.add("ada", RSA)


async def test_the_same_key_with_another_comment_is_a_duplicate(keys: SshKeys) -> None:
    await keys.add("ada", f"{ED25519} one")
    with pytest.raises(AlreadyExists, match="Key already exists"):
        await keys.add("ada", f"{ED25519} two")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "ssh-rsa",
        "hello",
        "ssh-rsa AAAA",
        f"{ED25519}\n{RSA}",
        f"{ED25519} a\rb",
        f"{ED25519} a\0b",
        f'command="sh" {ED25519}',
        ED25519.replace("ssh-ed25519", "ssh-rsa"),
        ED25519[:-8],
        f"{ED25519} {'x' * 9000}",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
    ],
    ids=range(12),
)
async def test_what_is_not_one_public_key_is_refused_and_changes_nothing(
    keys: SshKeys, home: Path, key: str
) -> None:
    with pytest.raises(InvalidArgument) as raised:
        await keys.add("ada", key)
    assert (raised.value.reason, raised.value.field) == ("SSH_KEY_INVALID", "key")
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("user", ["../root", "", "a/b", "Ada", "a" * 40, "ada\n", "-x"])
async def test_malformed_names_of_users_are_refused(keys: SshKeys, user: str) -> None:
    with pytest.raises(InvalidArgument, match="cannot be the name"):
        await keys.keys(user)


async def test_unknown_users_and_keys_are_not_found(keys: SshKeys) -> None:
    with pytest.raises(NotFound, match="No home directory found for user bob"):
        await keys.add("bob", ED25519)
    with pytest.raises(NotFound) as raised:
        await keys.remove("ada", ED25519)
    assert raised.value.reason == "SSH_KEY_NOT_FOUND"


@pytest.mark.parametrize("target", [".ssh", ".ssh/authorized_keys"])
async def test_links_of_the_user_are_not_followed(
    keys: SshKeys, home: Path, tmp_path: Path, target: str
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "authorized_keys").write_text("secret\n")
    if target == ".ssh":
        (home / ".ssh").symlink_to(other)
    else:
        (home / ".ssh").mkdir()
        (home / target).symlink_to(other / "authorized_keys")
    with pytest.raises(FailedPrecondition) as raised:
        await keys.add("ada", ED25519)
    assert raised.value.reason == "SSH_KEYS_UNREACHABLE"
    assert (other / "authorized_keys").read_text() == "secret\n"


def test_fingerprints_are_those_of_ssh_keygen(tmp_path: Path) -> None:
    for key in (ED25519, ECDSA, RSA):
        (tmp_path / "key").write_text(key + "\n")
        try:
            told = subprocess.run(["ssh-keygen", "-lf", tmp_path / "key"], capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("ssh-keygen is missing; .ci/run installs openssh-client")
        assert told.stdout.split()[1] == fingerprint(key)


def test_users_come_from_the_password_database() -> None:
    account = find_account("root")
    assert account is not None
    assert (account.uid, account.home) == (0, "/root")
    assert find_account("no-such-user-here") is None


@given(st.text(max_size=300))
def test_no_text_gets_more_than_one_line_into_the_file(text: str) -> None:
    keys = SshKeys(AuthorizedKeys(), lambda _: None, load_key)
    with suppress(InvalidArgument):
        assert len(keys._checked(text).splitlines()) == 1
