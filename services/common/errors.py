"""Errors that a caller can act on, and nothing about how they travel.

Domain code raises them; `services.common.boundary` turns them into gRPC statuses. Every error has a canonical
code (by name, so that the domain imports no grpc) and a stable reason. The message says what to do next, and
every value in it is repeated in `facts`.
"""

from collections.abc import Mapping, Sequence


class DomainError(Exception):
    """Base of every error a caller can act on."""

    code = "INTERNAL"
    reason = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        field: str | None = None,
        retry_after_s: float | None = None,
        violations: Sequence[tuple[str, str]] = (),
        **facts: str,
    ) -> None:
        super().__init__(message)
        self.reason = reason or type(self).reason
        self.field = field
        self.violations = violations
        """Further fields that are wrong, `field` included, and why; only where there may be several."""
        self.retry_after_s = retry_after_s
        self.facts: Mapping[str, str] = facts


class InvalidArgument(DomainError):
    """The request is wrong in itself; `field` names the part."""

    code, reason = "INVALID_ARGUMENT", "INVALID_ARGUMENT"


class Unauthenticated(DomainError):
    """The caller did not prove who it is."""

    code, reason = "UNAUTHENTICATED", "CREDENTIALS_MISSING"


class PermissionDenied(DomainError):
    """The caller is known and may not do this."""

    code, reason = "PERMISSION_DENIED", "ROLE_TOO_LOW"


class NotFound(DomainError):
    """The thing does not exist."""

    code, reason = "NOT_FOUND", "NOT_FOUND"


class AlreadyExists(DomainError):
    """The name is taken."""

    code, reason = "ALREADY_EXISTS", "ALREADY_EXISTS"


class FailedPrecondition(DomainError):
    """The thing is in the wrong state for this."""

    code, reason = "FAILED_PRECONDITION", "FAILED_PRECONDITION"


class Aborted(DomainError):
    """Something else got there first; try again."""

    code, reason = "ABORTED", "ABORTED"


class ResourceExhausted(DomainError):
    """A limit was reached; `retry_after_s` says when to try again, if that helps."""

    code, reason = "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED"


class Unavailable(DomainError):
    """A part that is needed does not answer now."""

    code, reason = "UNAVAILABLE", "UNAVAILABLE"


class DeadlineExceeded(DomainError):
    """A part that is needed did not answer in time."""

    code, reason = "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"


class NotImplementedYet(DomainError):
    """The call is part of the interface, but this version of the node cannot do it."""

    code, reason = "UNIMPLEMENTED", "NOT_IMPLEMENTED_YET"
