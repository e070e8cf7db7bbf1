"""A real Docker engine for tests, the one that runs or one of their own, and an image without a registry."""

import io
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound

from services.launcher.engine import ask

BUSYBOX = "busybox:stable"
START_TIMEOUT_S = 60
SOCKET = "/var/run/docker.sock"


def engine_address() -> str:
    """Returns where tests find their engine."""
    return os.environ.get("DOCKER_HOST") or f"unix://{SOCKET}"


def engine_answers(address: str | None = None) -> bool:
    """Tells whether an engine answers."""
    # Not the SDK: it leaves a socket open whenever there is no engine.
    return not ask(address or engine_address()).problem


@contextmanager
def running_engine() -> Iterator[str]:
    """Makes sure of an engine for the time of the context and yields its address.

    Uses one that runs. Else starts one, as root, installing Debian's where it is missing, and stops it again.
    """
    address = engine_address()
    if engine_answers(address):
        yield address
        return
    if os.geteuid() != 0 or "DOCKER_HOST" in os.environ:
        pytest.fail(f"No Docker engine answers at {address}; start one, or run the tests as root.")
    if shutil.which("dockerd") is None:
        _apt_install("docker.io")
    with _started_dockerd(address):
        yield address


@contextmanager
def _started_dockerd(address: str) -> Iterator[None]:
    log = Path(os.environ.get("TMPDIR", "/tmp")) / "dockerd-for-tests.log"
    with log.open("wb") as output:
        engine = subprocess.Popen(["dockerd"], stdout=output, stderr=output, start_new_session=True)
    try:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not engine_answers(address):
            if engine.poll() is not None or time.monotonic() > deadline_s:
                pytest.fail(f"dockerd does not start; see {log}:\n{log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield
    finally:
        engine.terminate()
        try:
            engine.wait(30)
        except subprocess.TimeoutExpired:
            engine.kill()
            engine.wait()


def _apt_install(package: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "--no-install-recommends", package]
    if subprocess.run(command, env=environment, check=False, capture_output=True).returncode:
        subprocess.run(["apt-get", "update"], env=environment, check=True, capture_output=True)
        subprocess.run(command, env=environment, check=True, capture_output=True)


def busybox_image(client: docker.APIClient) -> str:
    """Returns the tag of a small image, which is made of Debian's static busybox if it is not there."""
    try:
        client.inspect_image(BUSYBOX)  # type: ignore[no-untyped-call, unused-ignore]
    except ImageNotFound:
        client.import_image_from_data(busybox_rootfs(), *BUSYBOX.split(":"))
    return BUSYBOX


def busybox_rootfs() -> bytes:
    """Returns a root file system of one static program."""
    if shutil.which("busybox") is None or not _is_static(Path(shutil.which("busybox") or "")):
        _apt_install("busybox-static")
    binary = Path(shutil.which("busybox") or "/bin/busybox").resolve()
    applets = subprocess.run([binary, "--list"], check=True, capture_output=True, text=True).stdout.split()
    rootfs = io.BytesIO()
    with tarfile.open(fileobj=rootfs, mode="w") as tar:
        for folder in ("bin", "etc", "proc", "sys", "dev", "root", "tmp"):
            member = tarfile.TarInfo(folder)
            member.type, member.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(member)
        tar.add(binary, "bin/busybox")
        for applet in applets:
            if applet != "busybox":
                member = tarfile.TarInfo(f"bin/{applet}")
                member.type, member.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(member)
        passwd = b"root:x:0:0:root:/root:/bin/sh\n"
        member = tarfile.TarInfo("etc/passwd")
        member.size = len(passwd)
        tar.addfile(member, io.BytesIO(passwd))
    return rootfs.getvalue()


def _is_static(binary: Path) -> bool:
    """Tells whether a program needs no dynamic loader, whose path its image would lack."""
    return b"ld-linux" not in binary.read_bytes()[:4096] and b"/lib/ld-" not in binary.read_bytes()[:4096]


def chute_folder(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Writes the files of a chute and returns their folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def chute_tar(files: Mapping[str, str | bytes]) -> bytes:
    """Returns the uncompressed tar of a chute."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return archive.getvalue()


def small_chute(
    name: str, command: str = "while true; do sleep 1; done", port: int | None = None
) -> dict[str, str]:
    """Returns the files of a chute with one service that runs a shell command."""
    web = f"\nweb: {{service: main, port: {port}}}" if port else ""
    return {
        "paradrop.yaml": f"name: {name}\nversion: 1\nservices:\n  main:\n    type: normal\n{web}\n",
        "Dockerfile": f"FROM {BUSYBOX}\nCMD {command}\n",
    }
