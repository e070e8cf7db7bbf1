"""Debian's kernel and the first file system of the lab's machine, kept in build/lab between runs."""

import hashlib
import io
import os
import shutil
import stat
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).parents[2] / "build" / "lab"
MODULES = (
    # The machine itself: its disk is the file system of the host, its network that of qemu.
    *("virtio_pci", "9pnet_virtio", "9p", "overlay", "virtio_net", "virtio_rng"),
    # libcrc32c asks for it by another name, which no list of dependencies has.
    "crc32c_generic",
    # What WPA2 and WPA3 need.
    *("ccm", "gcm", "cmac", "ctr", "aesni_intel"),
    # What networks of chutes need.
    *("veth", "bridge", "8021q", "macvlan", "dummy"),
    *("nft_masq", "nft_nat", "nft_ct", "nft_chain_nat", "nft_reject_inet", "nft_fib_inet", "nft_limit"),
    *("nft_log", "nft_redir", "xt_conntrack"),
)
RADIOS = "mac80211_hwsim"
"""Loaded last, with the number of radios."""
INIT = Path(__file__).with_name("init.sh")
FOLDERS = ("bin", "proc", "sys", "dev", "modules", "lower", "upper", "root")


class KernelMissing(Exception):
    """No kernel can be had here; the message says what to do."""


@dataclass(frozen=True)
class Kernel:
    """What qemu boots."""

    image: Path
    initramfs: Path


def prepare() -> Kernel:
    """Returns the kernel, fetched and unpacked if this is the first time."""
    release = _newest_release()
    folder = CACHE / release
    image, modules = folder / "vmlinuz", folder / "modules"
    if not image.exists():
        _unpack(release, folder)
    content = _archive(modules)
    initramfs = folder / f"initramfs-{hashlib.sha256(content).hexdigest()[:16]}.cpio"
    if not initramfs.exists():
        for old in folder.glob("initramfs-*"):
            old.unlink()
        partial = initramfs.with_suffix(f".{os.getpid()}")
        partial.write_bytes(content)
        partial.replace(initramfs)
    return Kernel(image, initramfs)


def _newest_release() -> str:
    """Returns the release that Debian's meta package asks for now, or else the newest that is here."""
    kept = sorted(path.parent.name for path in CACHE.glob("*/vmlinuz"))
    release = _asked_for()
    if release is None and not kept and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=False, capture_output=True)
        release = _asked_for()
    if release is None and not kept:
        raise KernelMissing(
            "The lab needs Debian's package linux-image-amd64; run apt-get update on a Debian system."
        )
    return release or kept[-1]


def _asked_for() -> str | None:
    """Returns the release that the package lists name, if there are any."""
    command = ["apt-cache", "depends", "linux-image-amd64"]
    try:
        words = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return None
    names = (word for word in words if word.startswith("linux-image-") and word[12:13].isdigit())
    return next((name.removeprefix("linux-image-") for name in names), None)


def _unpack(release: str, folder: Path) -> None:
    """Fetches the package and keeps of it the kernel and the modules that the lab loads."""
    work = CACHE / f"unpacking-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        fetched = subprocess.run(
            ["apt-get", "download", "-q", f"linux-image-{release}"], cwd=work, capture_output=True, text=True
        )
        packages = list(work.glob("*.deb"))
        if fetched.returncode or not packages:
            raise KernelMissing(f"apt-get download linux-image-{release} failed: {fetched.stderr.strip()}")
        subprocess.run(["dpkg-deb", "-x", packages[0], "package"], cwd=work, check=True)
        ready = work / "ready"
        (ready / "modules").mkdir(parents=True)
        shutil.copy(work / f"package/boot/vmlinuz-{release}", ready / "vmlinuz")
        _pick(work / f"package/lib/modules/{release}", ready / "modules")
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        ready.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _pick(tree: Path, into: Path) -> None:
    """Copies the wanted modules and what they depend on, numbered in the order of loading."""
    known = {path.stem.replace("-", "_"): path for path in tree.rglob("*.ko")}
    order: list[str] = []

    def add(name: str) -> None:
        if name in order:
            return
        for dependency in _dependencies(known[name]):
            add(dependency)
        order.append(name)

    for name in (*MODULES, RADIOS):
        add(name)
    for number, name in enumerate(order):
        shutil.copy(known[name], into / f"{number:03}-{name}.ko")


def _dependencies(module: Path) -> list[str]:
    data = module.read_bytes()
    start = data.find(b"\0depends=") + len(b"\0depends=")
    names = data[start : data.index(b"\0", start)].decode()
    return [name.replace("-", "_") for name in names.split(",") if name]


def _archive(modules: Path) -> bytes:
    """Returns the initramfs: busybox, the modules, and the script that moves on to the host's file system."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise KernelMissing("The lab needs busybox; install busybox-static.")
    files = [(f"modules/{path.name}", path.read_bytes(), 0o644) for path in sorted(modules.iterdir())]
    files += [("bin/busybox", Path(busybox).read_bytes(), 0o755), ("init", INIT.read_bytes(), 0o755)]
    return _cpio(FOLDERS, files)


def _cpio(folders: Iterable[str], files: Iterable[tuple[str, bytes, int]]) -> bytes:
    """Returns an archive in the "newc" form, which is what the kernel unpacks."""
    out = io.BytesIO()
    entries = [(name, b"", stat.S_IFDIR | 0o755) for name in folders]
    entries += [(name, data, stat.S_IFREG | mode) for name, data, mode in files]
    for number, (name, data, mode) in enumerate([*entries, ("TRAILER!!!", b"", 0)], 1):
        path = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
        out.write(b"070701" + b"".join(b"%08X" % field for field in fields) + path)
        out.write(b"\0" * (-out.tell() % 4) + data)
        out.write(b"\0" * (-out.tell() % 4))
    return out.getvalue()
