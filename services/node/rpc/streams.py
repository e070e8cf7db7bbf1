"""Streams of reports."""

import asyncio
import math
from collections.abc import AsyncIterator

from paradrop.node.v1 import node_pb2 as pb

from services.common.errors import InvalidArgument
from services.node.domain.cached import Cached

MIN_INTERVAL_S = 1.0
DEFAULT_INTERVAL_S = 5.0


async def reports(
    telemetry: Cached[pb.GetTelemetryResponse], interval_s: float
) -> AsyncIterator[pb.WatchTelemetryResponse]:
    """Yields a report at once and then one per interval."""
    if interval_s < 0 or not math.isfinite(interval_s):
        raise InvalidArgument(
            f"interval_s must be a number of seconds from {MIN_INTERVAL_S:.0f} on.",
            reason="INTERVAL_INVALID",
            field="interval_s",
        )
    interval_s = max(MIN_INTERVAL_S, interval_s or DEFAULT_INTERVAL_S)
    loop = asyncio.get_running_loop()
    due_s = loop.time()
    while True:
        # What others have just asked for will do, but never the report that this reader has already.
        yield pb.WatchTelemetryResponse(report=await telemetry.get(interval_s / 2))
        # A reader that took its time gets the next report later, not several at once.
        due_s = max(due_s + interval_s, loop.time())
        await asyncio.sleep(due_s - loop.time())
