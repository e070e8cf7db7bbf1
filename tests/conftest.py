"""What every test gets: order by cost, and a failure when something blocks the event loop."""

import gc
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import psutil
import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from xdist.scheduler import LoadScopeScheduling

pytest.register_assert_rewrite("tests.support")

# Else gRPC starts its threads anew in each child of a fork, where they fail before it is another program.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

# A shell in the background ignores this signal, and so would all that the tests start and then interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# For `make test-fast`; `make test` takes the usual number.
hypothesis.settings.register_profile("fast", max_examples=20)

COST = ("thorough", "gateway", "engine", "e2e", "lab")
"""Marks from cheap to dear; a test without one is cheaper than all of them."""

CHAINS = "paradrop/chains"
"""Where workers leave the chain of each test for the process that hands them out."""
ORDER = {"machine": 0, "lab": 1}
"""The longest chains start first, once the tests without a mark have."""

MEMORY = Path("/dev/shm")
ROOM_BYTES = 8 * 1024**3
"""What the folders of all tests and of their engines need, with room to spare."""

# Two stats a second, a file of one line, or folders made while nothing is served yet cost less than the hop
# to a thread that would hide them.
MAY_BLOCK = (
    ("services/common/settings.py", "load_settings"),
    ("services/common/settings.py", "prepare"),
    ("services/common/settings.py", "state_dir"),
    ("services/common/identity.py", "_refresh"),
    ("services/common/channels.py", "service_metadata"),
)


def pytest_configure() -> None:
    """Keeps the folders of tests in memory: all that is made durable there would wait for the disk."""
    if "TMPDIR" not in os.environ and _has_room(MEMORY):
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def _has_room(folder: Path) -> bool:
    try:
        state = os.statvfs(folder)
    except FileNotFoundError:
        return False
    free_bytes = min(state.f_bavail * state.f_frsize, psutil.virtual_memory().available)
    return free_bytes >= ROOM_BYTES and not state.f_flag & os.ST_NOEXEC


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keeps the garbage collector from going through modules and tests, which stay, again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Runs cheap tests first: most mistakes show within seconds.

    Of two workers, one goes on with what needs this machine's engine and network, the other with the lab, a
    machine of its own, and then with all that is left.
    """
    items.sort(key=_cost)
    if hasattr(config, "workerinput"):
        chains = {item.nodeid: _chain(item) for item in items}
        items.sort(key=lambda item: (bool(_cost(item)), ORDER.get(chains[item.nodeid], len(ORDER))))
        _cache(config).set(CHAINS, chains)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Keeps tests together that must follow each other; the process that hands them out sees no marks."""
    return Chains(config, log)


class Chains(LoadScopeScheduling):
    """Hands out chains of tests in the order in which they are collected."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def schedule(self) -> None:
        self._chains = _cache(self.config).get(CHAINS, {})
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        chain: str = self._chains[nodeid]
        return chain


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tells which chains took longest: no run of several workers is shorter than those."""
    chains: dict[str, str] = _cache(config).get(CHAINS, {})
    seconds: Counter[tuple[str, str]] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if worker := getattr(report, "worker_id", ""):
                seconds[worker, chains[report.nodeid]] += report.duration
    if seconds and config.option.durations:
        terminalreporter.write_sep("=", "longest chains")
        for (worker, chain), took_s in seconds.most_common(10):
            terminalreporter.write_line(f"{took_s:.0f}s on {worker}: {chain}")


def _cost(item: pytest.Item) -> int:
    return max((COST.index(mark.name) + 1 for mark in item.iter_markers() if mark.name in COST), default=0)


def _chain(item: pytest.Item) -> str:
    """Returns the name of the tests that one worker runs, one after the other."""
    marks = {mark.name for mark in item.iter_markers()}
    if "lab" in marks:
        return "lab"
    if marks & {"engine", "e2e"} and "apart" not in marks:
        return "machine"
    return f"{item.path} {_cost(item)}"


def _cache(config: pytest.Config) -> pytest.Cache:
    assert config.cache is not None
    return config.cache


@pytest.fixture(scope="session", autouse=True)
def _nothing_blocks_the_loop() -> Iterator[BlockBuster]:
    with blockbuster_ctx(["services", "gateway"]) as detector:
        for file, function in MAY_BLOCK:
            for checked in detector.functions.values():
                checked.can_block_in(file, function)
        # gRPC ends its poller where its last channel or server is let go, which may be in the loop.
        detector.functions["threading.Lock.acquire"].can_block_in("threading.py", {"_wait_for_tstate_lock"})
        yield detector


@pytest.fixture(scope="module")
def grpc_server(grpc_addr: str) -> str:
    """Stands for a server that is running already; pytest-grpc's own cannot run async servicers."""
    return grpc_addr
