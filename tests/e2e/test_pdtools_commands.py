"""Every command of pdtools 0.13.2 that talks to a node, against one node that has what they ask about.

The list of commands is the client's own. Each test says with `runs` which of them it runs, and is held to it;
`test_every_command_is_run` finds those that nobody runs, and docs/pdtools.md has to name them all.
"""

import json
import re
import secrets
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.fakes.snapd import KNOWN_USER, UNCONNECTED, FakeSnapd, running_snapd
from tests.network.conftest import Namespaces, needs_root
from tests.support.engine import BUSYBOX, chute_folder, chute_tar
from tests.support.node import PASSWORD, NodeProcess, change
from tests.support.pdtools import ROOT, Pdtools, commands, install_pdtools
from tests.support.pulse import SINK, running_pulseaudio

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240), needs_root]

CHUTE = "box"
NETWORK = "wired0"
SOCKET = f"pd{secrets.token_hex(4)}"
STATION = "02:00:00:00:00:09"
LOGIN = {"Username: ": "paradrop", "Password: ": PASSWORD}
SOURCE = f"{SINK}.monitor"
# `pdtools chute` works on files; the others talk to a controller or to nobody.
FOR_OTHERS = ("chute", "cloud", "group", "list-groups", "routers", "store", "wizard", "help")
# It raises a TypeError on any answer: tests/node/test_discovery.py runs it.
BROKEN = {"discover"}


def runs(*names: str) -> pytest.MarkDecorator:
    """Says which commands a test runs."""
    return pytest.mark.commands(*names)


@dataclass
class Stack:
    """One node with an engine, a chute with a network, sound, snaps and a user."""

    node: NodeProcess
    snapd: FakeSnapd
    folder: Path

    def pdtools(self, home: str) -> Pdtools:
        (self.folder / home).mkdir()
        return Pdtools(install_pdtools(), self.node.target, self.folder / home)


def description(name: str, **more: object) -> str:
    return yaml.safe_dump({"name": name, "version": 1, "services": {"main": more}})


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], None]]:
    """A wired interface of this machine; what is yielded lets the device behind it ask for an address."""
    made = Namespaces()
    device = made.make()
    cable = ["ip", "link", "add", SOCKET, "type", "veth", "peer", "name", "nic", "netns", device.name]
    subprocess.run(cable, check=True)
    try:
        subprocess.run(["ip", "link", "set", SOCKET, "up"], check=True)
        device.run("ip", "link", "set", "nic", "up")
        ask = ("busybox", "udhcpc", "-i", "nic", "-n", "-q", "-x", "hostname:toaster")
        yield lambda: device.run(*ask, check=False) and None
    finally:
        subprocess.run(["ip", "link", "del", SOCKET], check=False)
        made.close()


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, engine: docker.DockerClient, socket: Callable[[], None]
) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    (folder / "user").mkdir()
    # The node sees a user "paradrop", who is no user of this machine.
    users = folder / "passwd"
    users.write_text(Path("/etc/passwd").read_text() + f"paradrop:x:0:0::{folder}/user:/bin/sh\n")
    inside = ("unshare", "--mount", "sh", "-c", f'mount --bind {users} /etc/passwd && exec "$@"', "sh")
    with running_pulseaudio(folder) as pulse, running_snapd(folder / "snapd.socket") as snapd:
        environment = {
            "SNAPD_INTERFACE": f"{folder}/snapd.socket",
            "PULSE_SERVER": pulse,
            "PARADROP_GRACE_S": "0",
        }
        node = NodeProcess(folder / "home", environment=environment, prefix=inside)
        node.start()
        try:
            node.login()
            wired = {
                "type": "lan",
                "requests": {"device": SOCKET},
                "dhcp": {"lease": "1h", "start": 10, "limit": 20},
            }
            files = {
                "paradrop.yaml": description(CHUTE, interfaces={NETWORK: wired}),
                "Dockerfile": dockerfile(),
            }
            ended = node.ended(node.upload(chute_tar(files)).json["change_id"])
            assert ended["status"] == "succeeded", ended["failure"]
            socket()
            yield Stack(node, snapd, folder)
            for chute in node.request("GET", "/api/v1/chutes/").json:
                change(node, "DELETE", f"/api/v1/chutes/{chute['name']}")
        finally:
            node.stop()


def dockerfile() -> str:
    return f"FROM {BUSYBOX}\nCMD trap exit TERM; echo the chute speaks; sleep 1000000 & wait\n"


@pytest.fixture(scope="module")
def leaves() -> list[str]:
    return [name for name in commands() if name.split()[0] not in FOR_OTHERS]


@pytest.fixture(scope="module")
def people(stack: Stack) -> dict[str, Pdtools]:
    """Somebody who uses `pdtools node`, and somebody who still uses `pdtools device`; both have logged in."""
    now, before = stack.pdtools("now"), stack.pdtools("before")
    now.run("node", "login", answers=LOGIN)
    before.run("device", stack.node.target, "login", answers=LOGIN)
    return {"node": now, "device": before}


@pytest.fixture
def held(request: pytest.FixtureRequest, people: dict[str, Pdtools], leaves: list[str]) -> Iterator[None]:
    """Holds a test to the commands that it says it runs."""
    before = {kind: len(person.ran) for kind, person in people.items()}
    yield
    ran = {
        command_in(arguments, leaves)
        for kind, person in people.items()
        for arguments in person.ran[before[kind] :]
    }
    assert set(request.node.get_closest_marker("commands").args) == ran


@pytest.fixture
def node(held: None, people: dict[str, Pdtools]) -> Callable[..., str]:
    return lambda *arguments, **more: people["node"].run("node", *arguments, **more)


@pytest.fixture
def device(held: None, people: dict[str, Pdtools], stack: Stack) -> Callable[..., str]:
    return lambda *arguments, **more: people["device"].run("device", stack.node.target, *arguments, **more)


def command_in(arguments: tuple[str, ...], leaves: list[str]) -> str:
    """Returns the command that arguments name between names of things and options."""
    found = ""
    for word in arguments:
        longer = f"{found} {word}".strip()
        if any(f"{leaf} ".startswith(f"{longer} ") for leaf in leaves):
            found = longer
    assert found in leaves, arguments
    return found


def documented(table: str) -> set[str]:
    """Returns the commands that docs/pdtools.md names in the table of a tree."""
    text = (ROOT / "docs" / "pdtools.md").read_text()
    (section,) = re.findall(rf"^## `pdtools {table}`$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {f"{table} {name}" for row in rows for name in re.findall("`([^`]+)`", row)}


def test_every_command_is_run(request: pytest.FixtureRequest, leaves: list[str]) -> None:
    run = {
        name
        for item in vars(request.module).values()
        for mark in getattr(item, "pytestmark", ())
        if mark.name == "commands"
        for name in mark.args
    }
    assert run == set(leaves) - BROKEN


@pytest.mark.parametrize("tree", ["node", "device"])
def test_every_command_is_documented(leaves: list[str], tree: str) -> None:
    assert documented(tree) == {name for name in leaves if name.startswith(f"{tree} ")}


def editor(folder: Path, command: str) -> Path:
    """Returns an editor that alters the file that it is given."""
    path = folder / "editor"
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o755)
    return path


def public_key() -> str:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@runs("node login", "node logout", "device login", "device logout")
def test_login_and_logout(held: None, people: dict[str, Pdtools], stack: Stack) -> None:
    for kind, tree in (("node", ("node",)), ("device", ("device", stack.node.target))):
        assert "Removed 1 token(s)" in people[kind].run(*tree, "logout")
        assert "Log" in people[kind].run(*tree, "login", answers=LOGIN)
        assert "Removed 1 token(s)" in people[kind].run(*tree, "logout")
        people[kind].run(*tree, "login", answers=LOGIN)


@runs("node help")
def test_help(node: Callable[..., str]) -> None:
    assert "list-chutes" in node("help")


@runs(
    "node describe-audio", "node list-audio-modules", "node list-audio-sinks", "node list-audio-sources",
    "node load-audio-module", "node set-sink-volume", "node set-source-volume",
)  # fmt: skip
def test_sound(node: Callable[..., str]) -> None:
    assert yaml.safe_load(node("describe-audio"))["default_sink_name"] == SINK
    assert SINK in node("list-audio-sinks")
    assert SOURCE in node("list-audio-sources")
    node("load-audio-module", "module-loopback")
    assert "module-loopback" in node("list-audio-modules")
    node("set-sink-volume", SINK, "0.5", "0.25")
    assert yaml.safe_load(node("list-audio-sinks"))[0]["volume"] == [0.5, 0.25]
    node("set-source-volume", SOURCE, "0.75")
    assert yaml.safe_load(node("list-audio-sources"))[0]["volume"] == [0.75, 0.75]


@runs(
    "device audio info", "device audio modules", "device audio sinks", "device audio sources",
    "device audio load-module", "device audio sink volume", "device audio source volume",
)  # fmt: skip
def test_sound_in_the_deprecated_tree(device: Callable[..., str]) -> None:
    assert SINK in device("audio", "info")
    device("audio", "load-module", "module-null-source")
    assert "module-null-source" in device("audio", "modules")
    device("audio", "sink", SINK, "volume", "0.125", "0.125")
    assert "0.125" in device("audio", "sinks")
    device("audio", "source", SOURCE, "volume", "0.375", "0.375")
    assert "0.375" in device("audio", "sources")


@runs("node list-snap-interfaces", "node connect-snap-interfaces", "node create-user")
def test_snaps(node: Callable[..., str], stack: Stack) -> None:
    assert len(yaml.safe_load(node("list-snap-interfaces"))["result"]["plugs"]) == 2
    stack.snapd.requested.clear()
    node("connect-snap-interfaces")
    assert yaml.safe_load(node("create-user", KNOWN_USER))["result"]["username"] == "paradrop"
    assert stack.snapd.requested == [
        {
            "action": "connect",
            "slots": [{"slot": UNCONNECTED["interface"]}],
            "plugs": [{"snap": UNCONNECTED["snap"], "plug": UNCONNECTED["plug"]}],
        },
        {"email": KNOWN_USER, "sudoer": True},
    ]
    assert "cannot create user" in node("create-user", "nobody@paradrop.io")


@runs("device snapd createuser", "device snapd connectall")
def test_snaps_in_the_deprecated_tree(device: Callable[..., str], stack: Stack) -> None:
    stack.snapd.requested.clear()
    assert "snap connect paradrop-daemon:network-control" in device("snapd", "connectall")
    assert "ssh-key-count" in device("snapd", "createuser", KNOWN_USER)
    assert len(stack.snapd.requested) == 2


@runs("node list-ssh-keys", "node import-ssh-key")
def test_ssh_keys(node: Callable[..., str], stack: Stack, tmp_path: Path) -> None:
    key = public_key()
    (tmp_path / "key.pub").write_text(f"{key}\n")
    assert "Added public key" in node("import-ssh-key", str(tmp_path / "key.pub"))
    assert key in yaml.safe_load(node("list-ssh-keys"))
    assert key in (stack.folder / "user/.ssh/authorized_keys").read_text()
    assert "USER_NOT_FOUND" in node("list-ssh-keys", "-u", "nobody-of-this-name")


@runs("device sshkeys list", "device sshkeys add")
def test_ssh_keys_in_the_deprecated_tree(device: Callable[..., str], tmp_path: Path) -> None:
    key = public_key()
    (tmp_path / "key.pub").write_text(f"{key}\n")
    assert f"Added: {key}" in device("sshkeys", "add", str(tmp_path / "key.pub"))
    assert key in device("sshkeys", "list")


@runs("node describe-provision", "node provision", "node describe-settings")
def test_settings_and_provision(node: Callable[..., str]) -> None:
    assert yaml.safe_load(node("describe-settings"))["concurrent_builds"] is True
    assert yaml.safe_load(node("provision", "r1", "k", "-c", "http://127.0.0.1:9"))["provisioned"] is True
    described = yaml.safe_load(node("describe-provision"))
    assert (described["routerId"], described["pdserver"]) == ("r1", "http://127.0.0.1:9")


@runs("device provision")
def test_provision_in_the_deprecated_tree(device: Callable[..., str], stack: Stack) -> None:
    told = device("provision", "r2", "k", "--server", "http://127.0.0.1:9", "--wamp", "ws://127.0.0.1:9/ws")
    assert "'provisioned': True" in told
    assert stack.node.request("GET", "/api/v1/config/pdid").json == {"pdid": "r2"}


@runs(
    "node export-configuration", "node generate-configuration", "node edit-configuration",
    "node import-configuration", "node set-configuration",
)  # fmt: skip
def test_the_host_configuration(node: Callable[..., str], tmp_path: Path) -> None:
    before = json.loads(node("export-configuration"))
    assert set(json.loads(node("generate-configuration"))) >= {"system", "lan"}
    assert "success" in node("set-configuration", "system.noted", "1.5")
    assert json.loads(node("export-configuration"))["system"]["noted"] == 1.5
    assert "success" in node(
        "edit-configuration", editor=editor(tmp_path, 'sed -i "s/noted: 1.5/noted: two/" "$1"')
    )
    assert yaml.safe_load(node("export-configuration", "-f", "yaml"))["system"]["noted"] == "two"
    (tmp_path / "before.yaml").write_text(yaml.safe_dump(before))
    assert "success" in node("import-configuration", str(tmp_path / "before.yaml"))
    assert json.loads(node("export-configuration")) == before


@runs("device hostconfig", "device hostconfig change", "device hostconfig edit")
def test_the_host_configuration_in_the_deprecated_tree(device: Callable[..., str], tmp_path: Path) -> None:
    assert "change_id" in device("hostconfig", "change", "system.noted", "one")
    changed = editor(tmp_path, 'sed -i "s/noted: one/noted: two/" "$1"')
    assert "success" in device("hostconfig", "edit", editor=changed)
    assert "'noted': 'two'" in device("hostconfig")


@runs("node describe-pdconf", "node trigger-pdconf", "device pdconf show", "device pdconf reload")
def test_the_parts_of_the_configuration(node: Callable[..., str], device: Callable[..., str]) -> None:
    for told in (
        node("describe-pdconf"),
        node("trigger-pdconf"),
        device("pdconf", "show"),
        device("pdconf", "reload"),
    ):
        assert re.search(rf"dnsmasq .*{CHUTE} +True", told), told
        assert "__PARADROP__" in told


@runs(
    "node list-devices", "node list-chute-networks", "node list-chute-network-clients",
    "node describe-chute-network-client", "node remove-chute-network-client",
)  # fmt: skip
def test_networks(node: Callable[..., str]) -> None:
    assert "toaster" in node("list-devices")
    assert yaml.safe_load(node("list-chute-networks", CHUTE))[0]["name"] == NETWORK
    # A wired network has no access point that could tell of stations.
    for command in (
        ("list-chute-network-clients", CHUTE, NETWORK),
        ("describe-chute-network-client", CHUTE, NETWORK, STATION),
        ("remove-chute-network-client", CHUTE, NETWORK, STATION),
    ):
        assert "HOSTAPD_UNAVAILABLE" in node(*command)


@runs(
    "device chute networks", "device chute network stations", "device chute network station show",
    "device chute network station delete",
)  # fmt: skip
def test_networks_in_the_deprecated_tree(device: Callable[..., str]) -> None:
    assert NETWORK in device("chute", CHUTE, "networks")
    network = ("chute", CHUTE, "network", NETWORK)
    for command in (("stations",), ("station", STATION, "show"), ("station", STATION, "delete")):
        assert "503 Service Unavailable" in device(*network, *command)


@runs(
    "node list-chutes", "node describe-chute", "node describe-chute-cache",
    "node describe-chute-configuration", "node watch-chute-logs", "device chutes list",
    "device chute info", "device chute cache", "device chute config", "device chute logs",
)  # fmt: skip
def test_a_chute_is_described(
    node: Callable[..., str],
    device: Callable[..., str],
    people: dict[str, Pdtools],
    stack: Stack,
) -> None:
    (listed,) = yaml.safe_load(node("list-chutes"))
    described = yaml.safe_load(node("describe-chute", CHUTE))
    assert (listed["name"], described["name"], described["state"]) == (CHUTE, CHUTE, "running")
    assert yaml.safe_load(node("describe-chute-cache", CHUTE))["networkInterfaces"][0]["name"] == NETWORK
    assert (
        NETWORK
        in yaml.safe_load(node("describe-chute-configuration", CHUTE))["services"]["main"]["interfaces"]
    )
    assert "[main]" in people["node"].follow("node", "watch-chute-logs", CHUTE, until="the chute speaks")
    for told in (device("chutes", "list"), device("chute", CHUTE, "info")):
        assert "'state': 'running'" in told
    assert "networkInterfaces" in device("chute", CHUTE, "cache")
    assert NETWORK in device("chute", CHUTE, "config")
    people["device"].follow("device", stack.node.target, "chute", CHUTE, "logs", until="the chute speaks")


@runs("node open-chute-shell", "device chute shell")
def test_shells_ask_for_a_container(
    node: Callable[..., str], device: Callable[..., str], engine: docker.DockerClient, tmp_path: Path
) -> None:
    # There is no SSH server here: its client only tells what it was asked for.
    (tmp_path / "ssh").write_text('#!/bin/sh\necho "asked: $*"\n')
    (tmp_path / "ssh").chmod(0o755)

    def container(told: str) -> str:
        found = re.search("sudo docker exec -it ([^ ]+) /bin/bash", told)
        assert found, told
        return found[1]

    running = engine.containers.get(container(node("open-chute-shell", CHUTE, programs=tmp_path)))
    assert running.exec_run("echo inside").output == b"inside\n"
    # The deprecated tree has always asked for a container with the name of the chute, which there is not.
    assert container(device("chute", CHUTE, "shell", programs=tmp_path)) == CHUTE


@runs(
    "node install-chute", "node update-chute", "node stop-chute", "node start-chute", "node restart-chute",
    "node edit-chute-variables", "node edit-chute-configuration", "node list-changes",
    "node watch-change-logs", "node remove-chute",
)  # fmt: skip
def test_the_life_of_a_chute(node: Callable[..., str], stack: Stack, tmp_path: Path) -> None:
    folder = tmp_path / "chute"
    files = {"paradrop.yaml": description("passing", environment={"A": "1"}), "Dockerfile": dockerfile()}
    chute_folder(folder, files)

    def described() -> dict[str, Any]:
        return stack.node.request("GET", "/api/v1/chutes/passing").json

    assert "Completed create operation on chute passing: success" in node("install-chute", "-d", str(folder))
    (folder / "paradrop.yaml").write_text(files["paradrop.yaml"].replace("version: 1", "version: 2"))
    assert "success" in node("update-chute", "-d", str(folder))
    assert described()["version"] == 2
    assert "success" in node("stop-chute", "passing")
    assert described()["state"] == "stopped"
    assert "success" in node("start-chute", "passing")
    assert "success" in node("restart-chute", "passing")
    assert described()["state"] == "running"
    added = editor(tmp_path, 'echo "{COLOUR: green, PORT: 8080, DEBUG: true}" > "$1"')
    assert "success" in node("edit-chute-variables", "passing", editor=added)
    assert described()["environment"] == {"COLOUR": "green", "PORT": "8080", "DEBUG": "true"}
    emptied = editor(tmp_path, 'echo "{}" > "$1"')
    assert "success" in node("edit-chute-variables", "passing", editor=emptied)
    assert described()["environment"] == {}
    altered = editor(tmp_path, "sed -i \"s/A: '1'/A: '2'/\" \"$1\"")
    assert "success" in node("edit-chute-configuration", "passing", editor=altered)
    configuration = stack.node.request("GET", "/api/v1/chutes/passing/config").json
    assert configuration["services"]["main"]["environment"] == {"A": "2"}
    assert "Completed delete operation on chute passing: success" in node("remove-chute", "passing")
    assert node("list-changes").strip() == ""
    last = max(change["id"] for change in all_changes(stack.node))
    # Changes that have ended can be watched.
    assert "Completed delete operation on chute passing: success" in node("watch-change-logs", str(last))


@runs(
    "device chutes create", "device chute update", "device chute stop", "device chute start",
    "device chute restart", "device chute edit-environment", "device chute reconfigure",
    "device chute delete", "device changes", "device watch",
)  # fmt: skip
def test_the_life_of_a_chute_in_the_deprecated_tree(
    device: Callable[..., str], stack: Stack, tmp_path: Path
) -> None:
    folder = tmp_path / "chute"
    chute_folder(folder, {"paradrop.yaml": description("former"), "Dockerfile": dockerfile()})

    def told() -> dict[str, Any]:
        return stack.node.request("GET", "/api/v1/chutes/former").json

    assert "success" in device("chutes", "create", cwd=folder)
    assert "success" in device("chute", "former", "update", cwd=folder)
    assert "success" in device("chute", "former", "stop")
    assert told()["state"] == "stopped"
    assert "success" in device("chute", "former", "start")
    assert "success" in device("chute", "former", "restart")
    added = editor(tmp_path, 'echo "COLOUR: green" > "$1"')
    assert "success" in device("chute", "former", "edit-environment", editor=added)
    assert told()["environment"] == {"COLOUR": "green"}
    # What it sends is the part "config" of the file, and nothing else of it.
    wanted = yaml.safe_load(description("former")) | {"web": {"service": "main", "port": 8000}}
    (folder / "paradrop.yaml").write_text(yaml.safe_dump({"config": wanted}))
    assert "success" in device("chute", "former", "reconfigure", cwd=folder)
    assert stack.node.request("GET", "/api/v1/chutes/former/config").json["web"]["port"] == 8000
    assert device("changes").rstrip().endswith("[]")
    assert "success" in device("chute", "former", "delete")
    last = max(change["id"] for change in all_changes(stack.node))
    assert "success" in device("watch", str(last))


def all_changes(node: NodeProcess) -> list[dict[str, Any]]:
    return node.request("GET", "/api/v1/changes/?include_ended=true").json


@runs("node watch-logs")
def test_the_log(held: None, people: dict[str, Pdtools], stack: Stack) -> None:
    def act() -> None:
        (stack.node.home / "node" / "provision.json").chmod(0o644)
        stack.node.request("POST", "/api/v1/info/issues/secrets-readable/fix", json_body={})

    people["node"].follow("node", "watch-logs", until="made private", meanwhile=act)


@runs("node reboot", "node shutdown")
def test_power(node: Callable[..., str]) -> None:
    # This machine stays on: PARADROP_POWER=0 lets the change fail, and the change says so.
    for command in ("reboot", "shutdown"):
        assert "PARADROP_POWER" in node(command)


@runs("node set-password", "device logout", "device login", "device password")
def test_passwords(node: Callable[..., str], device: Callable[..., str], stack: Stack) -> None:
    # Last: tokens from before end with the password.
    def answers(password: str) -> dict[str, str]:
        return {"Username: ": "paradrop", "New password: ": password, "Confirm password: ": password}

    assert "success: true" in node("set-password", answers=answers("another one: 1"))
    stack.node.login("another one: 1")
    device("logout")
    device("login", answers={"Username: ": "paradrop", "Password: ": "another one: 1"})
    assert "'success': True" in device("password", answers=answers(PASSWORD))
    stack.node.login()
