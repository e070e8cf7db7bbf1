"""Who may do something to a chute."""

from services.chutes.domain.chute import Actor
from services.chutes.domain.errors import chute_not_yours
from services.common.identity import Principal, Role


def may_access(owner: Actor, user: Actor) -> bool:
    """Tells whether a user owns the chute or administers the node."""
    if (user.name, user.domain) == (owner.name, owner.domain):
        return True
    return Role[user.role.upper()] >= Role.ADMIN


def require_access(chute: str, owner: Actor, user: Actor) -> None:
    """Raises PermissionDenied (CHUTE_NOT_YOURS) unless the user owns the chute or administers the node."""
    if not may_access(owner, user):
        raise chute_not_yours(chute)


def may_see(chute: str, principal: Principal) -> bool:
    """Tells whether a caller may see a chute in the list; only chutes may not see the others."""
    return principal.kind != "chute" or principal.name == chute


def sees(chute: str, owner: Actor, principal: Principal) -> bool:
    """Tells whether a caller is the chute itself or may access it."""
    if principal.kind == "chute":
        return principal.name == chute
    return may_access(owner, Actor.of(principal))


def require_sight(chute: str, owner: Actor, principal: Principal) -> None:
    """Raises PermissionDenied unless the caller is the chute itself or may access it."""
    if not sees(chute, owner, principal):
        raise chute_not_yours(chute)
