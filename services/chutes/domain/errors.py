"""The refusals that several parts of the domain give, each worded once."""

from services.chutes.domain.change import Change
from services.chutes.domain.chute import Actor, Version
from services.common.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
)

MEBIBYTE = 1024 * 1024


def chute_not_found(chute: str) -> NotFound:
    """The chute is not installed."""
    return NotFound(
        f"No chute found with name: {chute}. List the chutes with GET /api/v1/chutes.",
        reason="CHUTE_NOT_FOUND",
        chute=chute,
    )


def chute_exists(chute: str) -> AlreadyExists:
    """The name of a new chute is taken."""
    return AlreadyExists(
        f"Chute {chute} already exists; update it with PUT /api/v1/chutes/{chute}.",
        reason="CHUTE_EXISTS",
        chute=chute,
    )


def chute_running(chute: str) -> FailedPrecondition:
    """The chute runs already."""
    return FailedPrecondition(f"Chute {chute} is already running.", reason="CHUTE_RUNNING", chute=chute)


def chute_stopped(chute: str) -> FailedPrecondition:
    """The chute is stopped already."""
    return FailedPrecondition(f"Chute {chute} is already stopped.", reason="CHUTE_STOPPED", chute=chute)


def chute_not_yours(chute: str) -> PermissionDenied:
    """The caller does not own the chute."""
    return PermissionDenied(
        f"You do not have permission to access chute {chute}; ask its owner or an administrator.",
        reason="CHUTE_NOT_YOURS",
        chute=chute,
    )


def change_not_yours(change_id: int, owner: Actor) -> PermissionDenied:
    """The caller has nothing to do with the change."""
    return PermissionDenied(
        f"Change {change_id} was asked for by {owner.name}; only they, the owner of the chute and "
        "administrators may follow it.",
        reason="CHANGE_NOT_YOURS",
        change_id=str(change_id),
        owner=owner.name,
    )


def change_not_found(change_id: int) -> NotFound:
    """No change has the id, or it is forgotten."""
    return NotFound(
        f"No change found with id: {change_id}. List the changes with GET /api/v1/changes.",
        reason="CHANGE_NOT_FOUND",
        change_id=str(change_id),
    )


def version_installed(chute: str, version: Version | None, installed: Version) -> FailedPrecondition:
    """The update is not newer than what is installed."""
    return FailedPrecondition(
        f"Version {version} of the chute is already installed.",
        reason="VERSION_INSTALLED",
        chute=chute,
        version=str(version),
        installed=str(installed),
    )


def config_missing() -> InvalidArgument:
    """A description is empty."""
    return InvalidArgument("config must describe the chute.", reason="CONFIG_MISSING", field="config")


def chute_name_mismatch(name: str, expected: str) -> InvalidArgument:
    """A description is of another chute than the one that is meant."""
    return InvalidArgument(
        f"The description names the chute {name}, the request {expected}; they must be the same.",
        reason="CHUTE_NAME_MISMATCH",
        field="chute",
        chute=expected,
        name=name,
    )


def build_needed(chute: str, service: str) -> FailedPrecondition:
    """A new configuration needs images that only the chute's files can be made into."""
    field = f"services.{service}"
    return FailedPrecondition(
        f"{field}: what the image of {service} is made of (type, source, image, build) can only be changed "
        f"with the chute's files, which are not on this node; send them with PUT /api/v1/chutes/{chute}.",
        reason="CHUTE_BUILD_NEEDED",
        field=field,
        chute=chute,
        service=service,
    )


def sources_missing(chute: str, service: str) -> FailedPrecondition:
    """An image is gone, and so is what it was built from."""
    return FailedPrecondition(
        f"The image of service {service} was removed from the engine, and the files that it was built from "
        f"are not on this node; send them with PUT /api/v1/chutes/{chute}.",
        reason="IMAGE_MISSING",
        chute=chute,
        service=service,
    )


def container_name_taken(chute: str, container: str, other: str) -> AlreadyExists:
    """Two chutes would need a container of the same name."""
    return AlreadyExists(
        f"Chute {chute} needs a container named {container}, and so does the installed chute {other}; "
        "rename the chute or its service.",
        reason="CONTAINER_NAME_TAKEN",
        chute=chute,
        container=container,
        other=other,
    )


def change_not_cancellable(change: Change) -> FailedPrecondition:
    """The change has ended or will do so in any case."""
    how = "has ended" if change.ended else "is being undone" if change.failure else "is past its commit"
    return FailedPrecondition(
        f"Change {change.id} {how} and cannot be cancelled; "
        f"see its outcome with GET /api/v1/changes/{change.id}.",
        reason="CHANGE_NOT_CANCELLABLE",
        change_id=str(change.id),
    )


def request_id_reused(request_id: str, change: Change) -> AlreadyExists:
    """The same idempotency key came with another request."""
    return AlreadyExists(
        f"The idempotency key {request_id} was used for change {change.id}, a {change.request.type} of "
        f"{change.request.chute}; use a new one for each new request.",
        reason="IDEMPOTENCY_KEY_REUSED",
        change_id=str(change.id),
    )


def chute_locked(chute: str) -> FailedPrecondition:
    """The chute has its update lock already."""
    return FailedPrecondition(
        f"Chute {chute} is locked already; end the lock with DELETE /api/v1/chutes/{chute}/lock first.",
        reason="CHUTE_LOCKED",
        chute=chute,
    )


def disk_full(needed_bytes: int, free_bytes: int) -> ResourceExhausted:
    """There is too little room for what a change would write."""
    return ResourceExhausted(
        f"The change may need {needed_bytes // MEBIBYTE + 1} MB of disk and {free_bytes // MEBIBYTE} MB are "
        "free; remove chutes, images or other files, then try again.",
        reason="DISK_FULL",
        needed_bytes=str(needed_bytes),
        free_bytes=str(free_bytes),
    )


def files_not_kept(chute: str) -> FailedPrecondition:
    """An archive would lack what the images are built from."""
    return FailedPrecondition(
        f"The files that chute {chute} was built from are not on this node, so no archive of it could be "
        f"installed; send them with PUT /api/v1/chutes/{chute} first.",
        reason="CHUTE_FILES_NOT_KEPT",
        chute=chute,
    )


def chute_changed(chute: str) -> Aborted:
    """A chute became another while its archive was made."""
    return Aborted(
        f"Chute {chute} was updated or removed while it was exported; export it again.",
        reason="CHUTE_CHANGED",
        chute=chute,
    )


def archive_invalid(problem: str) -> InvalidArgument:
    """An archive does not hold what archives hold."""
    return InvalidArgument(
        f"This is no archive of a chute that can be imported: {problem}",
        reason="ARCHIVE_INVALID",
        field="content",
    )


def archive_too_new(number: int, known: int) -> FailedPrecondition:
    """An archive has a format of the future."""
    return FailedPrecondition(
        f"The archive has the format {number}, and this node reads formats up to {known}; update the node.",
        reason="ARCHIVE_TOO_NEW",
        field="content",
        format=str(number),
        known=str(known),
    )


def import_exists(chute: str) -> AlreadyExists:
    """The name that an imported chute would get is taken."""
    return AlreadyExists(
        f"Chute {chute} already exists; import the archive under another name, or with replace in its place.",
        reason="CHUTE_EXISTS",
        field="name",
        chute=chute,
    )
