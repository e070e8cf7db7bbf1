"""Makes what an image holds small: bytecode without docstrings of libraries, machine code without symbols.

Nobody asks a library in a container what it is for, and each part of the node would keep 2 MB of docstrings.
Assertions stay, and so do docstrings that are read.
"""

import ast
import marshal
import struct
from concurrent.futures import ProcessPoolExecutor
from importlib.util import MAGIC_NUMBER, cache_from_source, source_hash
from itertools import repeat
from pathlib import Path

READING = frozenset({"gateway", "numpy", "services"})
"""Packages that read docstrings: click makes `paradrop --help` of ours, numpy masked arrays of its own."""
UNCHECKED_HASH = (0b01).to_bytes(4, "little")
"""PEP 552: the file is taken for that of its source, which does not change in an image."""

ELF64 = b"\x7fELF\x02\x01"
"""How machine code for 64 bits, lowest byte first, begins."""


def compile_all(root: Path) -> None:
    """Writes the bytecode of all modules in the file system of an image, which lies at `root`."""
    with ProcessPoolExecutor() as pool:
        list(pool.map(_compile, sorted(root.rglob("*.py")), repeat(root), chunksize=64))


def _compile(file: Path, root: Path) -> None:
    inside = file.relative_to(root)
    source = file.read_bytes()
    try:
        tree = ast.parse(source)
    except SyntaxError:
        # Some libraries bring templates of modules.
        return
    if READING.isdisjoint(inside.parts):
        remove_docstrings(tree)
    code = compile(tree, f"/{inside}", "exec", dont_inherit=True)
    target = Path(cache_from_source(str(file), optimization=""))
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(MAGIC_NUMBER + UNCHECKED_HASH + source_hash(source) + marshal.dumps(code))


def remove_docstrings(tree: ast.Module) -> None:
    """Takes the docstrings out of a module, its classes and its functions."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        # A second string in a row would become the docstring if the first alone went.
        while node.body and isinstance(first := node.body[0], ast.Expr) and _is_text(first.value):
            del node.body[0]
            if not node.body and not isinstance(node, ast.Module):
                node.body.append(ast.copy_location(ast.Pass(), first))


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def cut_symbols(root: Path) -> None:
    """Cuts off machine code what comes after all that is ever loaded: symbols and lines for debuggers."""
    for file in root.rglob("*"):
        if file.is_file() and not file.is_symlink():
            with file.open("r+b") as opened:
                if opened.read(len(ELF64)) == ELF64:
                    opened.seek(0)
                    kept = without_symbols(opened.read())
                    opened.seek(0)
                    opened.write(kept)
                    opened.truncate()


def without_symbols(code: bytes) -> bytes:
    """Returns a file of 64-bit ELF up to the end of its last segment, without a table of sections."""
    (segments_at,) = struct.unpack_from("<Q", code, 0x20)
    entry_bytes, count = struct.unpack_from("<HH", code, 0x36)
    end = segments_at + count * entry_bytes
    for at in range(segments_at, end, entry_bytes):
        (offset,), (size_bytes,) = (
            struct.unpack_from("<Q", code, at + 0x08),
            struct.unpack_from("<Q", code, at + 0x20),
        )
        end = max(end, offset + size_bytes)
    header = bytearray(code[:0x40])
    struct.pack_into("<Q", header, 0x28, 0)
    struct.pack_into("<HH", header, 0x3C, 0, 0)
    return bytes(header) + code[0x40:end]
