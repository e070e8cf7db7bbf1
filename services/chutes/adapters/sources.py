"""The unpacked files of a chute: what has to be among them."""

from pathlib import Path

from services.chutes.adapters.docker_context import DOCKERFILE, Context
from services.chutes.domain.spec import ChuteSpec
from services.common.errors import InvalidArgument

CHUTE_FILE = "paradrop.yaml"
MAX_CHUTE_FILE_BYTES = 256 * 1024


def require_chute_file(folder: Path) -> None:
    """Raises InvalidArgument unless a small paradrop.yaml is in a folder. Blocking."""
    path = folder / CHUTE_FILE
    if not path.exists() and not path.is_symlink():
        deeper = next((found.parent.name for found in sorted(folder.glob(f"*/{CHUTE_FILE}"))), None)
        shown = deeper and repr(deeper.encode("utf-8", "backslashreplace").decode())
        advice = f"it is in {shown}/: make the tar inside of that folder." if deeper else "add it."
        raise InvalidArgument(
            f"The tar has no {CHUTE_FILE} at its root; {advice}",
            reason="CHUTE_FILE_MISSING",
            field=CHUTE_FILE,
        )
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_CHUTE_FILE_BYTES:
        raise InvalidArgument(
            f"{CHUTE_FILE} must be a file of at most {MAX_CHUTE_FILE_BYTES} bytes.",
            reason="CHUTE_FILE_INVALID",
            field=CHUTE_FILE,
        )


def require_dockerfiles(folder: Path, spec: ChuteSpec) -> None:
    """Raises InvalidArgument if a service cannot be built for want of a Dockerfile. Blocking."""
    for name, service in spec.services.items():
        root = Context(folder, service.source).root
        if service.type == "normal" and not (root and (root / DOCKERFILE).is_file()):
            raise InvalidArgument(
                f"Service {name} is of the type normal, and there is no {DOCKERFILE} at the root of the "
                "chute's files; add one, or use the type light or image.",
                reason="DOCKERFILE_MISSING",
                field=DOCKERFILE,
                service=name,
            )
