"""Answers ChuteProcessService."""

from typing import Any

from paradrop.chutes.v1 import processes_pb2 as pb
from paradrop.chutes.v1 import processes_pb2_grpc

from services.chutes.domain.ports import Engine
from services.common.errors import DomainError


class ChuteProcessServicer(processes_pb2_grpc.ChuteProcessServiceServicer):
    """Tells which processes are the chutes'."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def GetChuteProcesses(
        self, request: pb.GetChuteProcessesRequest, context: Any
    ) -> pb.GetChuteProcessesResponse:
        """Returns the main processes of all running containers."""
        try:
            found = await self._engine.processes()
        except DomainError:
            # The engine went away a moment ago: that is an answer too.
            return pb.GetChuteProcessesResponse(engine_available=False)
        return pb.GetChuteProcessesResponse(
            processes=[
                pb.ChuteProcess(chute=chute, service=service, pid=pid)
                for (chute, service), pid in sorted(found.items())
            ],
            engine_available=self._engine.available,
        )
