"""Generates Python code and the descriptor set from the protos into build/gen.

Nothing is done when neither a proto nor the generator has changed since the last run.
"""

import os
import sys
import tempfile
from hashlib import sha256
from importlib import metadata, resources
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
OUTPUT = ROOT / "build" / "gen"
STAMP = "generated-from"
# The gateway needs this file in the descriptor set to write error details as JSON.
ALSO_DESCRIBED = ("google/rpc/error_details.proto",)


def main() -> int:
    """Generates what is out of date and returns the exit status."""
    sources = sorted(PROTOS.rglob("*.proto"))
    wanted = _fingerprint(sources)
    stamp = OUTPUT / STAMP
    if stamp.exists() and stamp.read_text() == wanted:
        return 0
    OUTPUT.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=OUTPUT.parent, prefix="gen-") as folder:
        fresh = Path(folder) / "gen"
        status = _generate(sources, fresh)
        if status:
            return status
        (fresh / STAMP).write_text(wanted)
        if OUTPUT.exists():
            OUTPUT.rename(Path(folder) / "old")
        fresh.rename(OUTPUT)
    print(f"generated {len(sources)} protos into {OUTPUT.relative_to(ROOT)}")
    return 0


def _fingerprint(sources: list[Path]) -> str:
    digest = sha256(Path(__file__).read_bytes())
    digest.update("".join(metadata.version(tool) for tool in ("grpcio-tools", "mypy-protobuf")).encode())
    for source in sources:
        digest.update(f"{source.relative_to(PROTOS)}\0".encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _generate(sources: list[Path], target: Path) -> int:
    from grpc_tools import protoc  # Slow to import, and seldom needed.

    target.mkdir()
    (target / "paradrop").mkdir()
    includes = [PROTOS, _common_protos(), Path(str(resources.files("grpc_tools"))) / "_proto"]
    ours = [str(source.relative_to(PROTOS)) for source in sources]
    # The plugins lie beside the interpreter, which need not be on PATH.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    common = ["protoc", *(f"-I{include}" for include in includes)]
    outputs = [f"--{kind}_out={target}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    descriptors = f"--descriptor_set_out={target / 'paradrop' / 'descriptors.binpb'}"
    described = ["--include_imports", "--include_source_info", descriptors, *ours, *ALSO_DESCRIBED]
    status = int(protoc.main([*common, *outputs, *ours])) or int(protoc.main([*common, *described]))
    if status:
        return status
    (target / "paradrop" / "py.typed").touch()
    for leaf in {path.parent for path in target.rglob("*_pb2.py")}:
        folder = leaf
        while folder != target:
            (folder / "__init__.py").touch()
            folder = folder.parent
    return 0


def _common_protos() -> Path:
    """Returns the folder that holds google/api and google/rpc."""
    for file in metadata.files("googleapis-common-protos") or ():
        if str(file) == "google/api/annotations.proto":
            return Path(str(file.locate())).parents[2]
    raise SystemExit("googleapis-common-protos is not installed; `make gen` installs what is locked.")


if __name__ == "__main__":
    sys.exit(main())
