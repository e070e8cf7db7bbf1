"""An image with this machine's own Python and pip, so that light chutes can be built without a registry."""

import io
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pip
from docker.errors import ImageNotFound

from tests.support.engine import busybox_rootfs

PYTHON_IMAGE = f"paradrop-test-python:{sys.version_info.major}.{sys.version_info.minor}"
LEFT_OUT = (
    "test",
    "site-packages",
    "dist-packages",
    "__pycache__",
    "idlelib",
    "tkinter",
    "ensurepip",
    "lib2to3",
)


def python_image(client: docker.APIClient) -> str:
    """Returns the tag of the image, which is made if it is not there."""
    try:
        client.inspect_image(PYTHON_IMAGE)
    except ImageNotFound:
        client.import_image_from_data(_rootfs(), *PYTHON_IMAGE.split(":"))
    return PYTHON_IMAGE


def _rootfs() -> bytes:
    rootfs = io.BytesIO(busybox_rootfs())
    python, library = Path(sys.executable).resolve(), Path(sysconfig.get_path("stdlib"))
    modules = Path(sysconfig.get_config_var("DESTSHARED") or library / "lib-dynload")
    with tarfile.open(fileobj=rootfs, mode="a", dereference=True) as tar:
        tar.add(python, str(python))
        tar.add(library, str(library), filter=_needed)
        if modules.is_dir() and not modules.is_relative_to(library):
            tar.add(modules, str(modules), filter=_needed)
        tar.add(Path(pip.__file__).parent, f"{library}/pip", filter=_needed)
        for shared in sorted({path for file in (python, *modules.glob("*.so")) for path in _libraries(file)}):
            tar.add(shared, str(shared))
        _script(tar, "bin/python3", f'#!/bin/sh\nexec {python} "$@"\n')
        _script(tar, "bin/pip", f'#!/bin/sh\nexec {python} -m pip "$@"\n')
    return rootfs.getvalue()


def _needed(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if Path(member.name).name in LEFT_OUT else member


def _libraries(file: Path) -> Iterator[Path]:
    told = subprocess.run(["ldd", str(file)], capture_output=True, text=True, check=False).stdout
    for word in told.split():
        if word.startswith("/") and Path(word).exists():
            yield Path(word)


def _script(tar: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(text.encode()), 0o755
    tar.addfile(member, io.BytesIO(text.encode()))
