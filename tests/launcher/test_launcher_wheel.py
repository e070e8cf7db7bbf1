"""The wheel holds everything that a node needs to run."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = {".j2", ".lua", ".css", ".html", ".js", ".json", ".sql", ".svg"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, *offline, "-w", str(folder), str(ROOT)], check=True, timeout=50)
    (built,) = folder.glob("paradrop-*.whl")
    return built


@pytest.mark.thorough
def test_all_files_of_the_packages_are_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    wanted = {
        str(path.relative_to(ROOT))
        for package in ("services", "gateway", "portal")
        for path in (ROOT / package).rglob("*")
        if path.suffix in {".py", *DATA} and "__pycache__" not in path.parts
    }
    assert not wanted - names
    assert {"paradrop/descriptors.binpb", "paradrop/chutes/v1/chutes_pb2.py"} <= names


@pytest.mark.thorough
def test_it_runs_without_the_repository(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    script = (
        "import sys; sys.path = [p for p in sys.path if 'paradrop' not in p or 'site' in p];"
        "from pathlib import Path; from gateway.config import write_config;"
        "from services.common.settings import load_settings; import gateway;"
        "assert Path(gateway.__file__).is_relative_to(Path('site').absolute()), gateway.__file__;"
        "settings = load_settings({'PARADROP_HOME': 'home'}); settings.prepare();"
        "print(write_config(settings, Path('out')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout.strip() == "out/envoy.yaml", done


@pytest.mark.e2e
@pytest.mark.apart
def test_every_locked_package_is_to_be_had_for_aarch64(tmp_path: Path) -> None:
    """Routers are not all x86-64. Debian 12, the oldest base, has glibc 2.36."""
    platforms = ["manylinux2014_aarch64", *(f"manylinux_2_{minor}_aarch64" for minor in range(17, 37))]
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--dry-run",
        "--ignore-installed",
        "--no-deps",
    ]
    command += ["--only-binary", ":all:", "--python-version", "3.11", "--implementation", "cp"]
    command += [f"--abi={abi}" for abi in ("cp311", "abi3", "none")]
    command += [f"--platform={platform}" for platform in platforms]
    lock = ROOT / "requirements" / "run.lock"
    command += ["--require-hashes", "-r", str(lock), "--target", str(tmp_path)]
    command += ["--report", str(tmp_path / "report.json")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads((tmp_path / "report.json").read_text())["install"]
    files = [entry["download_info"]["url"].rpartition("/")[2] for entry in found]
    assert all("aarch64" in file or file.endswith("-none-any.whl") for file in files), files
    assert any("grpcio" in file and "aarch64" in file for file in files)
