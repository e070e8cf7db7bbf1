"""Finds out whose change it is that a service of the node hands in."""

from paradrop.chutes.v1 import changes_pb2 as pb

from services.common.access import ACCESS
from services.common.errors import InvalidArgument, PermissionDenied
from services.common.identity import LOCAL_DOMAIN, Principal, Role, current_principal

METHOD = "/paradrop.chutes.v1.ChangeService/CreateChange"
MAX_TEXT_CHARACTERS = 128


def asker(request: pb.CreateChangeRequest) -> Principal:
    """Returns the caller, or whoever asked a controller for the change if a service says so.

    Raises PermissionDenied if the caller is no service, or if the other one may not ask for changes at all.
    """
    caller = current_principal()
    if not request.HasField("on_behalf_of"):
        return caller
    if caller.kind != "service":
        raise PermissionDenied(
            "Only the services of the node ask for changes on behalf of others.", reason="SERVICES_ONLY"
        )
    told = request.on_behalf_of
    for field, text in (("name", told.name), ("domain", told.domain)):
        if not text or len(text) > MAX_TEXT_CHARACTERS or not text.isprintable():
            raise _wrong(field, f"must be 1 to {MAX_TEXT_CHARACTERS} printable characters")
    if told.domain == LOCAL_DOMAIN:
        raise _wrong("domain", "must be that of a controller: users of this node ask for themselves")
    try:
        role = Role[told.role.upper()]
    except KeyError:
        raise _wrong("role", f"must be one of {', '.join(role.name.lower() for role in Role)}") from None
    principal = Principal(told.name, role, told.domain)
    ACCESS[METHOD].check(principal)
    return principal


def _wrong(field: str, message: str) -> InvalidArgument:
    return InvalidArgument(
        f"on_behalf_of.{field} {message}.", reason="PRINCIPAL_INVALID", field=f"on_behalf_of.{field}"
    )
