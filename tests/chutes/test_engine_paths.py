"""Where the folders of a service in a container lie for the engine; the compose test shows it for real."""

from pathlib import Path

import pytest

from services.chutes.adapters.engine_paths import outside, own_container

ID = "3f" * 32
MOUNTS = [
    {"Destination": "/var/lib/paradrop", "Source": "/outer"},
    {"Destination": "/var/lib/paradrop/chutes", "Source": "/volumes/chutes/_data"},
    {"Destination": "/var/run/docker.sock", "Source": "/var/run/docker.sock"},
]


@pytest.mark.parametrize(
    ("inside", "seen"),
    [
        ("/var/lib/paradrop/chutes/data/hello", "/volumes/chutes/_data/data/hello"),
        ("/var/lib/paradrop/chutes", "/volumes/chutes/_data"),
        ("/var/lib/paradrop/chutes-of-others", "/outer/chutes-of-others"),
        ("/srv/data", "/srv/data"),
    ],
)
def test_the_closest_mount_counts(inside: str, seen: str) -> None:
    assert outside(Path(inside), MOUNTS) == Path(seen)


def test_a_container_knows_itself_by_what_the_engine_mounts() -> None:
    root = "812 801 0:52 / / ro,relatime - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/A\n"
    hostname = (
        f"826 812 254:0 /docker/containers/{ID}/hostname /etc/hostname ro,relatime - ext4 /dev/vda rw\n"
    )
    assert own_container(root + hostname) == ID
    assert own_container(root) is None


def test_a_mount_of_another_container_is_not_taken_for_it() -> None:
    other = f"90 29 254:0 /docker/containers/{ID}/mounts/shm /data/hostname rw - tmpfs shm rw\n"
    assert own_container(other) is None
