"""What every test gets: order by cost, and a failure when something blocks the event loop."""

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

pytest.register_assert_rewrite("tests.support")

COST = ("thorough", "gateway", "engine", "e2e", "lab")
"""Marks from cheap to dear; a test without one is cheaper than all of them."""

# Two stats a second, a file of one line, or folders made while nothing is served yet cost less than the hop
# to a thread that would hide them.
MAY_BLOCK = (
    ("services/common/settings.py", "load_settings"),
    ("services/common/settings.py", "prepare"),
    ("services/common/settings.py", "state_dir"),
    ("services/common/identity.py", "_refresh"),
    ("services/common/channels.py", "service_metadata"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs cheap tests first: most mistakes show within seconds."""
    items.sort(key=_cost)


def _cost(item: pytest.Item) -> int:
    return max((COST.index(mark.name) + 1 for mark in item.iter_markers() if mark.name in COST), default=0)


@pytest.fixture(autouse=True)
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
