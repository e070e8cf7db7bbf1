"""The program of the firewall is found where it is."""

import shutil
from pathlib import Path

import pytest

from services.network.adapters.nft import NftFirewall
from tests.network.conftest import Namespaces, needs_root

pytestmark = needs_root


async def test_nft_is_found_though_the_path_leaves_out_the_programs_of_root(
    namespaces: Namespaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = namespaces.make()
    (tmp_path / "ip").symlink_to(shutil.which("ip") or "/usr/sbin/ip")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await NftFirewall("ip", "netns", "exec", host.name).applied() is False
