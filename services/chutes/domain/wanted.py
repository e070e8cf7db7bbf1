"""What a chute is to become by a change."""

from dataclasses import replace

from services.chutes.domain import configuration
from services.chutes.domain.change import Change, Request
from services.chutes.domain.chute import Chute, Version, image_tags, is_newer
from services.chutes.domain.errors import (
    build_needed,
    chute_exists,
    chute_not_found,
    chute_running,
    chute_stopped,
    version_installed,
)
from services.chutes.domain.spec import ChuteSpec


def wanted(change: Change, old: Chute | None) -> Chute | None:
    """Returns the chute that a change leads to, None if it goes, or raises why it cannot be."""
    request = change.request
    if request.type in ("create", "update"):
        return _installed(change, old)
    if old is None:
        raise chute_not_found(request.chute)
    if request.type == "delete":
        return None
    if request.type == "stop":
        if old.desired == "stopped":
            raise chute_stopped(old.name)
        return replace(old, desired="stopped")
    if request.type == "start" and old.desired == "running":
        raise chute_running(old.name)
    if request.spec is not None:
        spec = configuration.read(old, request.document).spec if request.document else request.spec
        return configured(old, spec, change.id)
    environment = old.environment if request.environment is None else request.environment
    return replace(old, desired="running", environment=environment)


def _installed(change: Change, old: Chute | None) -> Chute:
    request = change.request
    spec = request.spec
    if spec is None:
        raise ValueError(f"change {change.id} has nothing to install")
    if old is not None and request.type == "create":
        raise chute_exists(old.name)
    if old is not None and not is_newer(request.version, old.version):
        raise version_installed(old.name, request.version, old.version)
    version = version_of(spec, request)
    return Chute(
        spec=spec,
        owner=old.owner if old else request.user,
        version=version,
        images=image_tags(spec, version, change.id, old.images if old else {}),
        create_time_s=old.create_time_s if old else change.create_time_s,
        environment=spec.environment,
        token=old.token if old else "",
        sources=request.workspace or ""
        if any(each.type != "image" for each in spec.services.values())
        else "",
    )


def configured(old: Chute, spec: ChuteSpec, change_id: int) -> Chute:
    """Returns a chute with another configuration, or raises FailedPrecondition if it cannot be built."""
    version = spec.version if spec.version is not None else old.version
    tags = image_tags(spec, version, change_id, old.images)
    images: dict[str, str] = {}
    for name, service in spec.services.items():
        before = old.spec.services.get(name)
        if before is not None and before.made_like(service):
            images[name] = old.images[name]
        elif service.type == "image" or old.sources:
            images[name] = tags[name]
        else:
            raise build_needed(old.name, name)
    return replace(
        old, spec=spec, version=version, images=images, desired="running", environment=spec.environment
    )


def version_of(spec: ChuteSpec, request: Request) -> Version:
    """Returns the version a chute is installed as: the author's, else that of the upload."""
    if spec.version is not None:
        return spec.version
    return request.version if request.version is not None else "unknown"
