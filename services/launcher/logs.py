"""Reads the log of a running node, for the command line."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import grpc
from paradrop.node.v1 import node_pb2, node_pb2_grpc

from services.common.channels import service_metadata
from services.common.errors import DomainError
from services.common.settings import Settings
from services.common.timestamps import to_seconds
from services.common.tls import blocking_channel


class LogsError(Exception):
    """The log cannot be read; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One line, or a word about lines that are missing."""

    time_s: float
    service: str
    level: str
    message: str
    fields: dict[str, str]

    def as_text(self) -> str:
        """Returns the line for a person, in local time."""
        when = datetime.fromtimestamp(self.time_s).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        facts = "".join(f" {name}={value!r}" for name, value in sorted(self.fields.items()))
        return f"{when} {self.level:8} {self.service:10} {self.message}{facts}"

    def as_json(self) -> str:
        """Returns the line for a program; "time" is in seconds since 1970."""
        return json.dumps(
            {
                "time": self.time_s,
                "service": self.service,
                "level": self.level,
                "message": self.message,
                "fields": self.fields,
            }
        )


def read_logs(
    settings: Settings, *, follow: bool, tail: int, service: str, level: str, since_minutes: float
) -> Iterator[Shown]:
    """Yields lines until the node ends, or at once if `follow` is false. Blocking."""
    request = node_pb2.StreamLogsRequest(
        service=service,
        level=level,
        tail=tail,
        since=time.time() - 60 * since_minutes if since_minutes else 0,
        stop_at_end=not follow,
    )
    with blocking_channel(settings, "node") as channel:
        stub = node_pb2_grpc.NodeServiceStub(channel)
        try:
            for response in stub.StreamLogs(request, metadata=service_metadata(settings.service_token_file)):
                if response.dropped_count:
                    missing = f"{response.dropped_count} lines were skipped"
                    yield Shown(time.time(), "paradrop", "warning", missing, {})
                for line in response.lines.lines:
                    time_s = to_seconds(line.time)
                    yield Shown(time_s, line.service, line.level, line.message, dict(line.fields))
        except grpc.RpcError as error:
            raise LogsError(f"The node does not give its log: {error.details()}; is it running?") from None
        except DomainError:
            raise LogsError("The node does not run, or with another PARADROP_HOME.") from None
