"""Small chutes for tests."""

import tarfile
from io import BytesIO

IDLE = '["/bin/sh", "-c", "trap exit TERM; echo ready; sleep 1000000 & wait"]'


def chute_tar(
    name: str, *, version: int | None = None, dockerfile: str | None = None, extra: str = ""
) -> bytes:
    """Returns the tar of a chute with one idle service; `extra` is added to its description."""
    description = f"name: {name}\n" + (f"version: {version}\n" if version is not None else "") + extra
    if "services:" not in extra:
        description += "services:\n  main:\n    type: normal\n"
    return tar_of(
        {"paradrop.yaml": description, "Dockerfile": dockerfile or f"FROM busybox:stable\nCMD {IDLE}\n"}
    )


def tar_of(files: dict[str, str]) -> bytes:
    """Returns a tar with these files."""
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, text in files.items():
            content = text.encode()
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, BytesIO(content))
    return buffer.getvalue()
