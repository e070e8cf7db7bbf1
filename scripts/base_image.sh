#!/usr/bin/env bash
# Makes the bases of Paradrop's images from a Debian mirror, for machines that reach no registry: NAME and, with what access
# points and firewalls need as well, NAME-network.
#
#   scripts/base_image.sh [name]     as root; then: BASE_IMAGE=<name> NETWORK_BASE_IMAGE=<name>-network docker-compose build
set -euo pipefail

name=${1:-paradrop-base:bookworm}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
packages=(dnsmasq-base hostapd iproute2 iw nftables)

[ "$(id -u)" = 0 ] || { echo "debootstrap needs root: run it with sudo." >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "Install debootstrap first: apt-get install debootstrap" >&2; exit 1; }

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

import() {
  # Without caches and documentation, which nobody reads in a container.
  tar -C "$root/base" --numeric-owner \
    --exclude='./var/cache/apt/*' --exclude='./var/lib/apt/lists/*' --exclude='./usr/share/doc/*' \
    --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' --exclude='./var/log/*' \
    -c . | docker import --change 'CMD ["bash"]' - "$1" >/dev/null
  echo "$1: $(docker image inspect --format '{{.Size}}' "$1" | numfmt --to=si --suffix=B)"
}

debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$root/base" "$mirror" \
  >"$root/log" 2>&1 || { tail -5 "$root/log" >&2; exit 1; }
import "$name"
# The lists of packages are those that debootstrap has just read.
chroot "$root/base" apt-get install -y --no-install-recommends "${packages[@]}" >"$root/log" 2>&1 || {
  tail -5 "$root/log" >&2
  exit 1
}
import "$name-network"
