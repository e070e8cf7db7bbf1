"""Checks the protos: style and comments with `buf lint`, compatibility with `buf breaking`.

Run `python scripts/check_protos.py`; it generates first and exits with 1 when there are findings. buf reads
the descriptor image, because the google protos come from Python packages and not from a registry of its own.

What clients may rely on is `protos/baseline.binpb`. A release sets it anew:
`buf build build/gen/paradrop/descriptors.binpb --exclude-source-info -o protos/baseline.binpb`.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import gen

CONFIG = gen.PROTOS / "buf.yaml"
BASELINE = gen.PROTOS / "baseline.binpb"
IMAGE = gen.IMAGE
# buf lies beside the interpreter, which need not be on PATH.
BUF = shutil.which("buf", path=Path(sys.executable).parent) or "buf"


def buf(*arguments: str) -> bool:
    """Runs buf, which prints its findings; tells whether there were none."""
    command = [BUF, *arguments, "--config", str(CONFIG)]
    return subprocess.run(command, check=False, cwd=gen.ROOT).returncode == 0


def main() -> int:
    """Returns the exit status: 0 when there are no findings."""
    gen.main()
    clean = buf("lint", str(IMAGE))
    if BASELINE.exists():
        clean &= buf("breaking", str(IMAGE), "--against", str(BASELINE))
    else:
        sys.stdout.write(f"no {BASELINE.relative_to(gen.ROOT)}: compatibility is not checked\n")
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
