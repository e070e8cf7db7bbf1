"""What images hold is made small without losing what a program does."""

import importlib.util
import marshal
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.support.compose import ROOT

SCRIPT = ROOT / "scripts" / "lean.py"
LIBRARY = '''"""A library."""
from __future__ import annotations

class Empty:
    """Nothing in it."""
    """Nor here."""

def checked(value):
    """Checks."""
    assert value, "no value"
    return """a text"""

async def later():
    "Only this."
'''


def python(folder: Path, program: str) -> str:
    """Returns what a program prints that runs in a folder."""
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    return ran.stdout


def run(root: Path, what: str) -> None:
    """Runs the script on a folder, as the build of the images does."""
    call = f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); import lean, pathlib; lean.{what}"
    subprocess.run(
        [sys.executable, "-c", f"{call}(pathlib.Path({str(root)!r}))"],
        check=True,
        capture_output=True,
        timeout=60,
    )


def module_of(source: Path, place: str) -> dict[str, object]:
    """Returns the names of a module that is run from its bytecode."""
    code = marshal.loads(Path(importlib.util.cache_from_source(str(source))).read_bytes()[16:])
    assert code.co_filename == place
    names: dict[str, object] = {"__name__": "tried"}
    exec(code, names)
    return names


def test_libraries_lose_docstrings_and_nothing_else(tmp_path: Path) -> None:
    root = tmp_path / "image"
    library, ours = root / "opt/some/lib.py", root / "opt/services/ours.py"
    for file in (library, ours):
        file.parent.mkdir(parents=True)
        file.write_text(LIBRARY)
    (library.parent / "template.py").write_text("class {{ name }}:")
    run(root, "compile_all")

    names = module_of(library, "/opt/some/lib.py")
    checked, empty = names["checked"], names["Empty"]
    assert callable(checked)
    assert [names.get("__doc__"), checked.__doc__, empty.__doc__, names["later"].__doc__] == [None] * 4
    assert checked(1) == "a text"
    with pytest.raises(AssertionError, match="no value"):
        checked(0)

    kept = module_of(ours, "/opt/services/ours.py")
    assert kept["__doc__"] == "A library."
    assert kept["checked"].__doc__ == "Checks."


def test_python_takes_the_bytecode_for_the_module(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(LIBRARY + "print(checked.__doc__, __cached__)\n")
    run(tmp_path, "compile_all")
    shown = python(tmp_path, "import small")
    assert shown.split() == ["None", importlib.util.cache_from_source(str(tmp_path / "small.py"))]


def test_machine_code_without_symbols_runs(tmp_path: Path) -> None:
    [binding] = [file for file in distribution("pyyaml").files or () if file.name.startswith("_yaml.")]
    whole = Path(str(binding.locate()))
    cut = tmp_path / whole.name
    shutil.copy2(whole, cut)
    (tmp_path / "notes").write_bytes(b"\x7fELF but a text")
    run(tmp_path, "cut_symbols")
    assert cut.stat().st_size < whole.stat().st_size / 2
    assert cut.stat().st_mode == whole.stat().st_mode
    assert (tmp_path / "notes").read_bytes() == b"\x7fELF but a text"
    loaded = python(tmp_path, "import _yaml, sys; print(_yaml.get_version_string())")
    assert loaded[0].isdigit()
