"""What only the start of a program needed can leave memory while it runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.launcher.memory import page_out

SIZE_BYTES = 8 * 1024 * 1024
READER = """
import mmap, sys
file = open(sys.argv[1], "rb")
mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
for _ in sys.stdin:
    print(sum(mapped[::4096]), flush=True)
"""


def resident_kib(pid: int, path: Path) -> int:
    """Returns how much of a mapped file is in the memory of a process."""
    lines = iter(Path(f"/proc/{pid}/smaps").read_text().splitlines())
    assert any(line.endswith(str(path)) for line in lines)
    return int(next(line for line in lines if line.startswith("Rss:")).split()[1])


def read(reader: "subprocess.Popen[str]") -> int:
    """Lets a reader read its whole mapping and returns the sum of what it saw."""
    assert reader.stdin
    assert reader.stdout
    reader.stdin.write("\n")
    reader.stdin.flush()
    return int(reader.stdout.readline())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs CAP_SYS_NICE: run the tests as root")
def test_pages_of_files_go_and_come_back_when_they_are_needed(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\1" * SIZE_BYTES)
    # Pages that are not on the disk yet cannot be dropped.
    os.sync()
    command = [sys.executable, "-c", READER, str(program)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert read(reader) == SIZE_BYTES // 4096
        assert resident_kib(reader.pid, program) == SIZE_BYTES // 1024
        page_out(reader.pid)
        assert resident_kib(reader.pid, program) < SIZE_BYTES // 1024 // 4
        assert read(reader) == SIZE_BYTES // 4096
        reader.communicate()


def test_a_process_that_has_ended_is_no_error() -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    page_out(ended.pid)


CALCULATOR = """
from pathlib import Path
import numpy as np
from services.launcher.memory import unmap_code

def code_kib():
    found, is_code = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, second, *_ = line.split()
        if "-" in first:
            is_code = second == "r-xp" and "/" in line
        elif is_code and first == "Rss:":
            found += int(second)
    return found

square = np.arange(10_000.0).reshape(100, 100)
expected, before = np.linalg.det(square @ square + np.eye(100)), code_kib()
unmap_code()
print(before, code_kib(), np.linalg.det(square @ square + np.eye(100)) == expected)
"""


def test_code_that_only_the_start_needed_goes_and_comes_back_when_it_is_needed() -> None:
    ran = subprocess.run([sys.executable, "-c", CALCULATOR], capture_output=True, text=True, check=True)
    before, after, is_right = ran.stdout.split()
    assert int(after) < int(before) / 2, ran.stdout
    assert is_right == "True"


HASHES = """
from pathlib import Path
from argon2.low_level import Type, hash_secret
from services.launcher.memory import bound_heap

def private_kib():
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return int(rollup.partition("Private_Dirty:")[2].split()[0])

bound_heap()
before = private_kib()
for _ in range(3):
    hash_secret(b"password", bytes(16), 2, 19456, 1, 32, Type.ID)
print(private_kib() - before)
"""


def test_the_memory_in_which_passwords_are_hashed_goes_back() -> None:
    ran = subprocess.run([sys.executable, "-c", HASHES], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 4096, "KiB stay"


USED = """
import asyncio
from pathlib import Path
from services.launcher import part

def private_mib():
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return int(rollup.partition("Private_Dirty:")[2].split()[0]) // 1024

async def main():
    part.SETTLED_S = part.TRIM_INTERVAL_S = 0.05
    part.bound_heap()
    staying_small = asyncio.create_task(part.stay_small())
    await asyncio.sleep(0.2)
    before = private_mib()
    # The last one keeps the end of the heap where it is.
    blocks = [b"x" * (64 * 1024 + n) for n in range(1000)]
    used, last = private_mib(), blocks.pop()
    blocks.clear()
    await asyncio.sleep(0.5)
    print(used - before, private_mib() - before)
    staying_small.cancel()

asyncio.run(main())
"""


@pytest.mark.thorough
def test_a_part_gives_back_what_it_has_used_for_a_while() -> None:
    ran = subprocess.run([sys.executable, "-c", USED], capture_output=True, text=True, check=True)
    used, kept = map(int, ran.stdout.split())
    assert used > 50, ran.stdout
    assert kept < 10, ran.stdout
