"""Small chutes for tests of the whole node."""

from tests.support.engine import BUSYBOX, chute_tar

IDLE = '["/bin/sh", "-c", "trap exit TERM; echo ready; sleep 1000000 & wait"]'


def idle_chute(name: str, *, version: int | None = None, dockerfile: str | None = None) -> bytes:
    """Returns the tar of a chute with one service that waits to be stopped."""
    numbered = f"version: {version}\n" if version is not None else ""
    return chute_tar(
        {
            "paradrop.yaml": f"name: {name}\n{numbered}services:\n  main:\n    type: normal\n",
            "Dockerfile": dockerfile or f"FROM {BUSYBOX}\nCMD {IDLE}\n",
        }
    )
