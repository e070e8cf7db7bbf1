"""Times as messages have them."""

from google.protobuf.timestamp_pb2 import Timestamp

MICROSECONDS_PER_S = 1_000_000


def to_timestamp(time_s: float) -> Timestamp:
    """Returns a time given in seconds since 1970, to the microsecond."""
    microseconds = round(time_s * MICROSECONDS_PER_S)
    seconds, rest = divmod(microseconds, MICROSECONDS_PER_S)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def to_seconds(time: Timestamp) -> float:
    """Returns a time in seconds since 1970."""
    return time.seconds + time.nanos / 1e9
