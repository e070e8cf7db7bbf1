"""What must be among the unpacked files of a chute."""

from pathlib import Path

import pytest

from services.chutes.adapters.sources import require_chute_file, require_dockerfiles
from services.chutes.adapters.tarball import extract
from services.chutes.domain.chutefile import parse_chute_file
from services.common.errors import InvalidArgument
from tests.chutes.test_tarball import MIB, Add, archive, file, folder, link


def _unpacked(path: Path, *adds: Add) -> Path:
    tar = path / "upload.tar"
    tar.write_bytes(archive(*adds, chute=False))
    extract(tar, path / "target", MIB)
    return path / "target"


@pytest.mark.parametrize(
    ("adds", "reason"),
    [
        ([], "CHUTE_FILE_MISSING"),
        ([file("web/paradrop.yaml"), file("web/Dockerfile")], "CHUTE_FILE_MISSING"),
        ([folder("paradrop.yaml")], "CHUTE_FILE_INVALID"),
        ([file("x"), link("paradrop.yaml", "x")], "CHUTE_FILE_INVALID"),
        ([file("paradrop.yaml", bytes(300_000))], "CHUTE_FILE_INVALID"),
    ],
)
def test_a_description_is_needed(tmp_path: Path, adds: list[Add], reason: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        require_chute_file(_unpacked(tmp_path, *adds))
    assert caught.value.reason == reason
    if any(add is not None for add in adds) and "MISSING" in reason:
        assert "'web'" in str(caught.value)


LIGHT = b"name: a\ntype: light\nuse: python\ncommand: x"
TWO = b"name: a\nservices: {m: {source: m}, n: {type: image, image: redis}}"


@pytest.mark.parametrize(
    ("adds", "description", "fine"),
    [
        ([], b"name: a", False),
        ([folder("Dockerfile")], b"name: a", False),
        ([file("Dockerfile")], b"name: a", True),
        ([file("d/real"), link("Dockerfile", "d/real")], b"name: a", True),
        ([], LIGHT, True),
        ([], TWO, False),
        ([file("Dockerfile")], TWO, True),
        ([file("m/Dockerfile")], TWO, True),
        ([file("n/Dockerfile")], TWO, False),
    ],
)
def test_what_is_built_needs_a_dockerfile(
    tmp_path: Path, adds: list[Add], description: bytes, fine: bool
) -> None:
    target, spec = _unpacked(tmp_path, *adds), parse_chute_file(description).spec
    if fine:
        require_dockerfiles(target, spec)
        return
    with pytest.raises(InvalidArgument) as caught:
        require_dockerfiles(target, spec)
    assert caught.value.reason == "DOCKERFILE_MISSING"
