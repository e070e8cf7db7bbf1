"""One node per state folder, whatever happened to the one before."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.launcher.errors import StartError
from services.launcher.lock import locked

HOLD = """
import sys
from pathlib import Path
from services.launcher.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_second_node_is_told_who_the_first_is(tmp_path: Path) -> None:
    with (
        locked(tmp_path),
        pytest.raises(StartError, match=rf"process {os.getpid()}.*{tmp_path}.*PARADROP_HOME"),
        locked(tmp_path),
    ):
        pass


def test_the_folder_is_free_again_afterwards(tmp_path: Path) -> None:
    with locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_services_share_a_folder_with_each_other_only(tmp_path: Path) -> None:
    with (
        locked(tmp_path, shared=True),
        locked(tmp_path, shared=True),
        pytest.raises(StartError),
        locked(tmp_path),
    ):
        pass
    with locked(tmp_path), pytest.raises(StartError), locked(tmp_path, shared=True):
        pass


def test_a_killed_node_leaves_the_folder_free(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StartError, match=f"process {holder.pid}"), locked(tmp_path):
            pass
        holder.kill()
    with locked(tmp_path):
        pass
