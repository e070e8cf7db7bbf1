"""The node service answers every RPC honestly before it can do any of them."""

from pathlib import Path

from services.node.app import running
from services.node.rpc.servicer import AUDIO_SERVICE, SERVICE
from tests.support.pending import check_pending_service


async def test_every_rpc_says_that_it_is_not_there_yet(tmp_path: Path) -> None:
    await check_pending_service(tmp_path, "node", running, [SERVICE, AUDIO_SERVICE])
