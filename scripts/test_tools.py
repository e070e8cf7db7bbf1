"""Makes sure of the programs that the tests drive: as root with apt they are installed, else named.

Run `python scripts/test_tools.py`; it exits with 1 when something is missing and cannot be installed.
"""

import os
import shutil
import subprocess
import sys

from services.launcher.engine import DEFAULT_ADDRESS, ask

PACKAGES = {
    "busybox": "busybox-static",  # the base of the images that tests build: no registry is needed
    "chromium": "chromium",
    "curl": "curl",  # the README's first chute
    "debootstrap": "debootstrap",  # the base of the image: no registry is needed
    "dnsmasq": "dnsmasq-base",
    "docker-compose": "docker-compose",
    "git": "git",  # pdtools imports it
    "hostapd": "hostapd",
    "ip": "iproute2",
    "iw": "iw",
    "nft": "nftables",
    "openssl": "openssl",  # the RADIUS server of the lab has a certificate
    "pactl": "pulseaudio-utils",
    "pgrep": "procps",
    "ping": "iputils-ping",
    "pulseaudio": "pulseaudio",
    "qemu-system-x86_64": "qemu-system-x86",  # the lab with simulated radios
    "setpriv": "util-linux",
    "snap": "snapd",
    "ssh-keygen": "openssh-client",
    "systemd-analyze": "systemd",
    "wpa_supplicant": "wpasupplicant",
}
ENGINE_PACKAGES = {"dockerd": "docker.io", "iptables": "iptables"}
SYSTEM_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def missing_packages() -> list[str]:
    """Returns the Debian packages that the tests need and this machine lacks."""
    needed = dict(PACKAGES)
    if ask(os.environ.get("DOCKER_HOST") or DEFAULT_ADDRESS).problem:
        needed |= ENGINE_PACKAGES
    return [package for tool, package in needed.items() if not shutil.which(tool, path=SYSTEM_PATH)]


def main() -> int:
    """Returns the exit status."""
    packages = missing_packages()
    if not packages:
        return 0
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.stderr.write(
            f"The tests need {' '.join(packages)}: install them (sudo apt-get install {' '.join(packages)}), "
            "or run 'make test-fast', which needs nothing.\n"
        )
        return 1
    sys.stderr.write(f"Installing {' '.join(packages)} with apt-get for the tests ...\n")
    install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages]
    for command in (["apt-get", "update", "-qq"], install):
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
