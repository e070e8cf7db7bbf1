"""Archives of chutes as strangers may make them."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from tests.chutes.test_tarball import member

Add = Callable[[tarfile.TarFile], None]

GZIP = "application/gzip"
MANIFEST: dict[str, Any] = {"format": 1, "name": "web", "data_bytes": 10}
DESCRIPTION = b'{"name": "web", "services": {"main": {"type": "normal"}}}'


def entry(name: str, content: bytes = b"", **fields: Any) -> Add:
    """Returns what adds a file, or with a `type` anything else."""

    def add(tar: tarfile.TarFile) -> None:
        info = member(name, fields.pop("type", tarfile.REGTYPE), size=len(content), **fields)
        tar.addfile(info, io.BytesIO(content))

    return add


SOURCES = entry("sources/Dockerfile", b"FROM scratch\n")


def make_tar(*adds: Add, checksum: str | None = None, ends: bool = True) -> bytes:
    """Returns the tar of an archive with a checksum that is right, unless another is given."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for add in adds:
            add(tar)
        if ends:
            digest = checksum or sha256(output.getvalue()).hexdigest()
            entry("checksum.json", json.dumps({"sha256": digest}).encode())(tar)
    return output.getvalue()


def make_archive(
    *adds: Add,
    manifest: Any = MANIFEST,
    description: bytes = DESCRIPTION,
    sources: Add = SOURCES,
    **tar: Any,
) -> bytes:
    """Returns an archive of a small chute with more in it."""
    text = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    head = (entry("paradrop-chute.json", text), entry("paradrop.yaml", description))
    return gzip.compress(make_tar(*head, sources, *adds, **tar), 1)
