"""The stream of log lines."""

from collections.abc import AsyncIterator, Callable

from paradrop.node.v1 import node_pb2 as pb
from paradrop.type.v1 import stream_pb2

from services.common.errors import InvalidArgument
from services.common.ring import KEPT_LINES, LEVELS, WRITERS, LogLine
from services.common.streams import heartbeat
from services.node.domain.ports import Lines
from services.node.rpc.documents import to_log_line

HEARTBEAT_S = 15.0


async def log_responses(lines: Lines, request: pb.StreamLogsRequest) -> AsyncIterator[pb.StreamLogsResponse]:
    """Yields kept lines, the sync mark, new lines."""
    wanted = _filter(request)
    if not 0 <= request.tail <= KEPT_LINES:
        raise InvalidArgument(
            f"tail must be from 0 to {KEPT_LINES}, not {request.tail}.",
            reason="TAIL_OUT_OF_RANGE",
            field="tail",
        )
    async with lines.reading() as (kept, reader):
        history = [line for line in kept if wanted(line)] if request.tail or request.since else []
        if request.tail:
            history = history[-request.tail :]
        if history:
            yield _lines(history)
        if request.stop_at_end:
            yield pb.StreamLogsResponse(end=stream_pb2.End())
            return
        yield pb.StreamLogsResponse(synced=stream_pb2.Synced())
        async for batch in reader.batches(HEARTBEAT_S):
            new = [line for line in batch if wanted(line)]
            dropped = reader.take_dropped()
            if new or dropped:
                yield _lines(new, dropped)
            elif not batch:
                yield pb.StreamLogsResponse(heartbeat=heartbeat())


def _filter(request: pb.StreamLogsRequest) -> Callable[[LogLine], bool]:
    if request.level and request.level not in LEVELS:
        raise InvalidArgument(
            f"level must be one of {', '.join(LEVELS)}.", reason="LOG_LEVEL_INVALID", field="level"
        )
    if request.service and request.service not in WRITERS:
        raise InvalidArgument(
            f"service must be one of {', '.join(WRITERS)}.", reason="LOG_SERVICE_UNKNOWN", field="service"
        )
    least = LEVELS.index(request.level) if request.level else 0

    def wanted(line: LogLine) -> bool:
        level = LEVELS.index(line.level) if line.level in LEVELS else 1
        return level >= least and request.service in ("", line.service) and line.time_s >= request.since

    return wanted


def _lines(lines: list[LogLine], dropped: int = 0) -> pb.StreamLogsResponse:
    return pb.StreamLogsResponse(lines=pb.LogLines(lines=map(to_log_line, lines)), dropped_count=dropped)
