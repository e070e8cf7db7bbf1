"""What `make` does first on a machine that has nothing."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("cat", "cksum", "dirname", "rm", "id")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files that bootstrapping reads, and no environment."""
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "requirements", clone / "requirements")
    (clone / "scripts").mkdir()
    for name in ("pyproject.toml", "scripts/bootstrap"):
        shutil.copy(ROOT / name, clone / name)
    return clone


def bootstrap(clone: Path, kind: str = "run", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "scripts/bootstrap", kind],
        cwd=clone,
        env={"PATH": os.environ["PATH"]} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def machine_with(folder: Path, **programs: str) -> str:
    """Returns a PATH with the usual small tools and these shell scripts only."""
    folder.mkdir()
    # Never through a link: that would write to the machine's own program.
    for tool in set(TOOLS) - set(programs):
        (folder / tool).symlink_to(str(shutil.which(tool)))
    for name, script in programs.items():
        program = folder / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    return str(folder)


def test_an_old_python_is_named(clone: Path, tmp_path: Path) -> None:
    path = machine_with(tmp_path / "bin", python3='[ "$1" = --version ] && echo Python 3.9.2 && exit; exit 1')
    done = bootstrap(clone, PATH=path)
    assert done.returncode == 1
    assert "Python 3.9.2" in done.stderr
    assert "apt-get install python3" in done.stderr
    assert not (clone / ".venv").exists()


def test_a_python_without_venv_is_named_with_the_package_to_install(clone: Path, tmp_path: Path) -> None:
    broken = f'case "$2" in *ensurepip*) exit 1;; esac; exec {sys.executable} "$@"'
    path = machine_with(tmp_path / "bin", python3=broken, id="echo 1000")
    done = bootstrap(clone, PATH=path)
    assert done.returncode == 1
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    assert f"apt-get install {version}-venv" in done.stderr
    assert not (clone / ".venv").exists()


def test_a_named_python_must_be_suitable(clone: Path) -> None:
    done = bootstrap(clone, PYTHON="/nowhere/python3")
    assert done.returncode == 1
    assert "PYTHON=/nowhere/python3" in done.stderr


def test_an_unknown_kind_is_refused(clone: Path) -> None:
    done = bootstrap(clone, "everything")
    assert done.returncode == 1
    assert "'run' or 'dev'" in done.stderr


def test_a_second_run_does_nothing_and_takes_no_time() -> None:
    # `make test` has run it before.
    began_s = time.monotonic()
    for kind in ("dev", "run"):
        done = bootstrap(ROOT, kind)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - began_s < 5
