"""What becomes of sources, as the wire has it."""

from google.protobuf import timestamp_pb2
from paradrop.airshark.v1 import airshark_pb2 as pb

from services.airshark.domain.reader import SourceState, State
from services.airshark.domain.sources import SourceKind

NANOSECONDS = 1_000_000_000

STATES = {
    State.IDLE: pb.SourceEvent.STATE_IDLE,
    State.RUNNING: pb.SourceEvent.STATE_RUNNING,
    State.LOST: pb.SourceEvent.STATE_LOST,
    State.ENDED: pb.SourceEvent.STATE_ENDED,
}
KINDS = {
    SourceKind.NONE: pb.SOURCE_KIND_NONE,
    SourceKind.HARDWARE: pb.SOURCE_KIND_HARDWARE,
    SourceKind.RECORDING: pb.SOURCE_KIND_RECORDING,
    SourceKind.SIMULATED: pb.SOURCE_KIND_SIMULATED,
}


def to_timestamp(time_s: float) -> timestamp_pb2.Timestamp:
    """Returns a time as the wire has it."""
    seconds = int(time_s // 1)
    return timestamp_pb2.Timestamp(seconds=seconds, nanos=int((time_s - seconds) * NANOSECONDS))


def to_event(state: SourceState) -> pb.SourceEvent:
    """Returns what became of a source as the wire has it."""
    return pb.SourceEvent(
        state=STATES[state.state],
        kind=KINDS[state.kind],
        radio=state.radio,
        description=state.description,
        problem=state.problem,
        time=to_timestamp(state.time_s),
    )
