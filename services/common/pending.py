"""Answers the RPCs whose work this version does not do, each with a reason."""

from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from services.common.errors import NotImplementedYet


def leave_pending(servicer: type, service: ServiceDescriptor) -> None:
    """Gives a servicer class an honest UNIMPLEMENTED for every RPC that no part of it defines."""
    # What the generated base class has are placeholders.
    own = [part for part in servicer.__mro__ if not part.__module__.startswith("paradrop.")]
    for method in service.methods:
        if not any(method.name in vars(part) for part in own):
            setattr(servicer, method.name, _pending(method))


def _pending(method: MethodDescriptor) -> Any:
    rpc = method.full_name

    def refusal() -> NotImplementedYet:
        return NotImplementedYet(f"{rpc} is not available in this version of Paradrop.", rpc=rpc)

    if method.server_streaming:

        async def stream(_self: Any, _request: Any, _context: Any) -> AsyncIterator[Any]:
            raise refusal()
            yield

        return stream

    async def unary(_self: Any, _request: Any, _context: Any) -> Any:
        raise refusal()

    return unary
