"""What becomes of sources, as the wire has it."""

from paradrop.airshark.v1 import airshark_pb2 as pb

from services.airshark.domain.reader import SourceState, State
from services.airshark.domain.sources import SourceKind
from services.common.timestamps import to_timestamp

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
