#!/usr/bin/env bash
# Makes the base of Paradrop's image from a Debian mirror, for machines that reach no registry.
#
#   scripts/base_image.sh [tag]      as root; then: BASE_IMAGE=<tag> docker-compose build
set -euo pipefail

tag=${1:-paradrop-base:bookworm}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

[ "$(id -u)" = 0 ] || { echo "debootstrap needs root: run it with sudo." >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "Install debootstrap first: apt-get install debootstrap" >&2; exit 1; }

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$root/base" "$mirror" \
  >"$root/log" 2>&1 || { tail -5 "$root/log" >&2; exit 1; }
# Caches and documentation, which nobody reads in a container.
rm -rf "$root"/base/var/cache/apt/* "$root"/base/var/lib/apt/lists/* "$root"/base/usr/share/doc/* \
  "$root"/base/usr/share/man/* "$root"/base/usr/share/locale/* "$root"/base/var/log/*
tar -C "$root/base" --numeric-owner -c . | docker import --change 'CMD ["bash"]' - "$tag" >/dev/null
echo "$tag: $(docker image inspect --format '{{.Size}}' "$tag" | numfmt --to=si --suffix=B)"
