"""A node's event loop takes the sockets of the kernel's own protocols, such as nl80211."""

from pathlib import Path

import pytest

from tests.support.node import NodeProcess

pytestmark = pytest.mark.e2e


def test_radios_are_listed_or_it_is_said_why_not(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "home", environment={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    node.start()
    try:
        node.login()
        answer = node.request("GET", "/api/v1/network/radios")
        assert answer.status == 200 or answer.reason == "NL80211_UNAVAILABLE", answer
    finally:
        assert node.stop() == 0
