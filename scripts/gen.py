"""Generates the Python package `paradrop` and the descriptor image from `protos/` into `build/gen`.

Run `python scripts/gen.py`. It does nothing when neither the protos nor the tools have changed.
"""

import fcntl
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import distribution, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
OUT = ROOT / "build" / "gen"
IMAGE = OUT / "paradrop" / "descriptors.binpb"
STAMP = ".inputs.sha256"
TOOLS = ("grpcio-tools", "mypy-protobuf", "googleapis-common-protos")
# Nothing of ours imports it, but whoever reads the errors needs it in the image.
ERROR_DETAILS = "google/rpc/error_details.proto"


def sources() -> list[Path]:
    """Returns our protos in a stable order."""
    return sorted(PROTOS.rglob("*.proto"))


def fingerprint() -> str:
    """Returns a hash of everything that decides what is generated."""
    digest = hashlib.sha256()
    for tool in TOOLS:
        digest.update(f"{tool}=={version(tool)}\n".encode())
    for path in (Path(__file__).resolve(), *sources()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def is_current(stamp: str) -> bool:
    """Tells whether `build/gen` was generated from these inputs."""
    try:
        return (OUT / STAMP).read_text() == stamp
    except FileNotFoundError:
        return False


def tool(name: str) -> str:
    """Returns the path of a program: the one beside this Python, else the one on PATH."""
    found = shutil.which(name, path=Path(sys.executable).parent) or shutil.which(name)
    return found or sys.exit(f"{name} is not installed; install the group dev of the project")


def include_options() -> Iterator[str]:
    """Yields where protoc looks: our protos, its own well-known types, google/api and google/rpc."""
    import grpc_tools

    common = distribution("googleapis-common-protos").locate_file("")
    for folder in (PROTOS, Path(grpc_tools.__path__[0]) / "_proto", common):
        yield f"--proto_path={folder}"


def protoc(*options: str) -> None:
    """Runs the compiler; exits with its status when it fails."""
    from grpc_tools import protoc as compiler

    if status := compiler.main(["protoc", *include_options(), *options]):
        sys.exit(status)


def generate(out: Path) -> None:
    """Generates everything into the empty folder `out`."""
    names = [path.relative_to(PROTOS).as_posix() for path in sources()]
    protoc(
        f"--plugin=protoc-gen-mypy={tool('protoc-gen-mypy')}",
        f"--plugin=protoc-gen-mypy_grpc={tool('protoc-gen-mypy_grpc')}",
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out=quiet:{out}",
        f"--mypy_grpc_out=quiet:{out}",
        *names,
    )
    package = out / "paradrop"
    for folder in {path.parent for path in package.rglob("*_pb2.py")}:
        for parent in (folder, *folder.parents):
            if parent == out:
                break
            (parent / "__init__.py").touch()
    (package / "py.typed").touch()
    protoc(
        f"--descriptor_set_out={package / IMAGE.name}",
        "--include_imports",
        "--include_source_info",
        *names,
        ERROR_DETAILS,
    )


def replace(new: Path) -> None:
    """Puts the folder `new` in the place of `build/gen`; on failure the next run generates anew."""
    old = new.with_name(f"{new.name}.old")
    if OUT.exists():
        OUT.rename(old)
    new.rename(OUT)
    shutil.rmtree(old, ignore_errors=True)


def main() -> None:
    """Brings `build/gen` up to date; runs that overlap wait for each other."""
    if is_current(fingerprint()):
        return
    OUT.parent.mkdir(exist_ok=True)
    with (OUT.parent / ".gen.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Taken under the lock, before the compiler reads: a later edit is for the next run.
        stamp = fingerprint()
        if is_current(stamp):
            return
        with tempfile.TemporaryDirectory(prefix=".gen-", dir=OUT.parent) as work:
            new = Path(work) / "gen"
            new.mkdir()
            generate(new)
            (new / STAMP).write_text(stamp)
            replace(new)
    sys.stdout.write(f"generated {OUT.relative_to(ROOT)} from {len(sources())} protos\n")


if __name__ == "__main__":
    main()
