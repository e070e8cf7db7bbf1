#!/usr/bin/env bash
# Makes the base of Paradrop's images from a Debian mirror, for machines that reach no registry, and fetches the packages
# that access points and firewalls need into build/debs, where the build of the images finds them.
#
#   scripts/base_image.sh [name]     as root; then: BASE_IMAGE=<name> docker-compose build
set -euo pipefail
cd "$(dirname "$0")/.."

name=${1:-paradrop-base:bookworm}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
packages=(dnsmasq-base hostapd iproute2 iw nftables)

[ "$(id -u)" = 0 ] || { echo "debootstrap needs root: run it with sudo." >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "Install debootstrap first: apt-get install debootstrap" >&2; exit 1; }

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$root/base" "$mirror" \
  >"$root/log" 2>&1 || { tail -5 "$root/log" >&2; exit 1; }
chroot "$root/base" apt-get clean
# The lists of packages are those that debootstrap has just read.
chroot "$root/base" apt-get install -y --download-only --no-install-recommends "${packages[@]}" >"$root/log" 2>&1 || {
  tail -5 "$root/log" >&2
  exit 1
}
rm -rf build/debs
mkdir -p build/debs
cp "$root"/base/var/cache/apt/archives/*.deb build/debs/

# Without caches, and without documentation, which nobody reads in a container, but for licences.
find "$root/base/usr/share/doc" -type f ! -name copyright -delete
tar -C "$root/base" --numeric-owner \
  --exclude='./var/cache/apt/*' --exclude='./var/lib/apt/lists/*' --exclude='./usr/share/man/*' \
  --exclude='./usr/share/locale/*' --exclude='./var/log/*' \
  -c . | docker import --change 'CMD ["bash"]' - "$name" >/dev/null
echo "$name: $(docker image inspect --format '{{.Size}}' "$name" | numfmt --to=si --suffix=B)"
